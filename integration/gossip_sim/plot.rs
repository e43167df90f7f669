//! Plots as SVG: a few lines over logarithmic axes.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 5] = ["#c0392b", "#2471a3", "#1e8449", "#b7950b", "#6c3483"];

/// A line.
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A plot of lines; all values must be above zero.
pub struct Plot {
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    pub series: Vec<Series>,
}

/// A logarithmic axis from one place to another.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().fold(f64::MAX, f64::min).log10();
        let most = values.fold(f64::MIN, f64::max).log10();
        let margin = ((most - least) * 0.05).max(0.02);
        Self { least: least - margin, most: most + margin, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.least) / (self.most - self.least) * (self.to - self.from)
    }

    /// Round values on it: 1, 2 and 5 times powers of ten, or only the powers where that would be many.
    fn marks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.most - self.least > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut marks = Vec::new();
        let mut decade = self.least.floor();
        while decade <= self.most {
            marks.extend(steps.iter().map(|step| step * 10_f64.powf(decade)));
            decade += 1.0;
        }
        marks.retain(|mark| (self.least..=self.most).contains(&mark.log10()));
        marks
    }
}

impl Plot {
    /// The picture.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| series.points.iter().copied());
        let x = Axis::new(points().map(|(x, _)| x).collect::<Vec<_>>().into_iter(), LEFT, WIDTH - RIGHT);
        let y = Axis::new(points().map(|(_, y)| y).collect::<Vec<_>>().into_iter(), HEIGHT - BOTTOM, TOP);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
            self.title
        );
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for mark in x.marks() {
            let at = x.place(mark);
            let _ = writeln!(
                out,
                "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                figure(mark)
            );
        }
        for mark in y.marks() {
            let at = y.place(mark);
            let _ = writeln!(
                out,
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                figure(mark)
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 10.0,
            self.x,
            f64::midpoint(TOP, bottom),
            self.y
        );
        for (series, (colour, number)) in self.series.iter().zip(COLOURS.iter().cycle().zip(0_u8..)) {
            let line: Vec<String> = series
                .points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x.place(*at), y.place(*value)))
                .collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            for point in &line {
                let (at, value) = point.split_once(',').unwrap_or_default();
                let _ = writeln!(out, "<circle cx=\"{at}\" cy=\"{value}\" r=\"3\" fill=\"{colour}\"/>");
            }
            let height = TOP + 12.0 + 20.0 * f64::from(number);
            let _ = writeln!(
                out,
                "<path d=\"M{} {}h20\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{height}\">{}</text>",
                right + 12.0,
                height - 4.0,
                right + 38.0,
                series.name
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

/// A round number, without digits that say nothing.
fn figure(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value:.3}").trim_end_matches('0').to_owned() }
}

#[test]
fn a_plot_has_a_line_for_each_series() {
    let series =
        |name: &str, points: &[(f64, f64)]| Series { name: name.to_owned(), points: points.to_vec() };
    let plot = Plot {
        title: "t",
        x: "x",
        y: "y",
        series: vec![series("a", &[(1.0, 1.0), (100.0, 10.0)]), series("b", &[(1.0, 2.0), (100.0, 5.0)])],
    };
    let svg = plot.svg();
    assert_eq!(svg.matches("<polyline").count(), 2);
    assert_eq!(svg.matches("<circle").count(), 4);
    assert!(svg.contains(">100</text>"), "{svg}");
}
