//! Text tables.

/// A table: cells padded with blanks to the widest of their column, two blanks between columns, the
/// last column not padded. No line end after the last row. Blanks around a cell are dropped.
pub fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let columns = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.as_ref().get(column)).map(|c| width(c.trim())).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let last = row.as_ref().len().saturating_sub(1);
        for (column, (cell, column_width)) in row.as_ref().iter().zip(&widths).enumerate() {
            let cell = cell.trim();
            text.push_str(cell);
            if column < last {
                pad(&mut text, column_width + 2 - width(cell));
            }
        }
    }
    text
}

/// Lines of a name and a value; the values begin six columns after the longest name. No line end
/// after the last line. An empty value leaves the padding, as Consul does.
pub fn pairs<N: AsRef<str>, V: AsRef<str>>(lines: &[(N, V)]) -> String {
    let widest = lines.iter().map(|(name, _)| width(name.as_ref())).max().unwrap_or(0);
    let mut text = String::new();
    for (number, (name, value)) in lines.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        text.push_str(name.as_ref());
        pad(&mut text, widest + 6 - width(name.as_ref()));
        text.push_str(value.as_ref());
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &mut String, blanks: usize) {
    text.extend(std::iter::repeat_n(' ', blanks));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn tables() {
        let cases: &[(&str, &[&[&str]], &str)] = &[
            ("nothing", &[], ""),
            ("header only", &[&["Node", "ID"]], "Node  ID"),
            (
                "widest cell decides",
                &[&["Node", "DC"], &["a-long-name", "dc1"]],
                "Node         DC\na-long-name  dc1",
            ),
            ("empty cells", &[&["A", "B", "C"], &["", "", "x"]], "A  B  C\n      x"),
            ("last column is not padded", &[&["A", "Long"], &["b", ""]], "A  Long\nb  "),
            ("counted in characters", &[&["é", "x"], &["ab", "y"]], "é   x\nab  y"),
            ("blanks around cells", &[&[" a ", " b "]], "a  b"),
        ];
        for (name, input, want) in cases {
            assert_eq!(table(&rows(input)), *want, "{name}");
        }
    }

    #[test]
    fn pairs_align_values() {
        assert_eq!(
            pairs(&[("ID", "1"), ("Version", "2"), ("x", "")]),
            "ID           1\nVersion      2\nx            "
        );
        assert_eq!(pairs::<&str, &str>(&[]), "");
    }
}
