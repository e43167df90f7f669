//! Reads the paths out of Rust source text: enough of the language for that, and no more.
//!
//! Comments, texts and characters are skipped, items behind `#[cfg(test)]` left out, groups in
//! braces multiplied out, and `self` and `super` replaced by the module they stand for.

use std::collections::BTreeSet;

/// A path that a source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Its segments; the first is `crate` for everything of this package.
    pub segments: Vec<String>,
    /// Line it starts in.
    pub line: usize,
    /// It stands in a `use` item by itself, so even a single segment names a crate.
    pub imported: bool,
}

impl Path {
    /// As it would be written.
    pub fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// What was read of one file.
#[derive(Debug)]
pub struct Source {
    /// Every path outside of tests.
    pub paths: Vec<Path>,
    /// Lines of code: no comments, no blank ones, no tests.
    pub lines: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Colons,
    Sign(char),
}

impl Source {
    /// Reads the text of a file, given as its path under `src/`.
    pub fn read(file: &str, text: &str) -> Self {
        let tokens = without_tests(&tokens(text));
        let module = module_of(file);
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            at = path_at(&tokens, at, &[], &mut paths);
        }
        let children = modules(&tokens);
        for path in &mut paths {
            resolve(&module, &children, path);
        }
        let lines: BTreeSet<usize> = tokens.iter().map(|(_, line)| *line).collect();
        Self { paths, lines: lines.len() }
    }
}

/// The module a file is: `state/kv.rs` and `state/kv/mod.rs` are both `state`, `kv`.
fn module_of(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// The modules that a file declares: their names hide crates of the same name.
fn modules(tokens: &[(Token, usize)]) -> Vec<String> {
    let pairs = tokens.windows(2);
    pairs
        .filter_map(|pair| match (&pair[0].0, &pair[1].0) {
            (Token::Word(word), Token::Word(name)) if word == "mod" => Some(name.clone()),
            _ => None,
        })
        .collect()
}

fn resolve(module: &[String], children: &[String], path: &mut Path) {
    if path.segments.len() > 1 && path.segments.first().is_some_and(|first| children.contains(first)) {
        path.segments.splice(0..0, std::iter::once("crate".to_owned()).chain(module.iter().cloned()));
        return;
    }
    let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
    let own = path.segments.first().is_some_and(|first| first == "self");
    if ups == 0 && !own {
        return;
    }
    let base = &module[..module.len().saturating_sub(ups)];
    let rest = path.segments.split_off(if own { 1 } else { ups });
    path.segments = std::iter::once("crate".to_owned()).chain(base.iter().cloned()).chain(rest).collect();
}

/// Reads a path, or a group of them, or passes over one token; gives where to go on.
fn path_at(tokens: &[(Token, usize)], mut at: usize, before: &[String], paths: &mut Vec<Path>) -> usize {
    let Some((Token::Word(word), line)) = tokens.get(at) else { return at + 1 };
    let mut segments = before.to_vec();
    // `use a::{self, b}` names `a` itself.
    if word != "self" || before.is_empty() {
        segments.push(word.clone());
    }
    let imported = at > 0 && tokens[at - 1].0 == Token::Word("use".into());
    at += 1;
    while let Some((Token::Colons, _)) = tokens.get(at) {
        match tokens.get(at + 1) {
            Some((Token::Word(word), _)) => {
                segments.push(word.clone());
                at += 2;
            }
            Some((Token::Sign('{'), _)) => return group_at(tokens, at + 2, &segments, paths),
            _ => {
                at += 1;
                break;
            }
        }
    }
    paths.push(Path { segments, line: *line, imported });
    at
}

/// Reads the inside of a group of a `use` item up to its closing brace.
fn group_at(tokens: &[(Token, usize)], mut at: usize, before: &[String], paths: &mut Vec<Path>) -> usize {
    loop {
        match tokens.get(at) {
            None => return at,
            Some((Token::Sign('}'), _)) => return at + 1,
            // The new name is no path.
            Some((Token::Word(word), _)) if word == "as" => at += 2,
            _ => at = path_at(tokens, at, before, paths),
        }
    }
}

/// Leaves out every item that follows `#[cfg(test)]`.
fn without_tests(tokens: &[(Token, usize)]) -> Vec<(Token, usize)> {
    let marker: Vec<Token> = vec![
        Token::Sign('#'),
        Token::Sign('['),
        Token::Word("cfg".into()),
        Token::Sign('('),
        Token::Word("test".into()),
        Token::Sign(')'),
        Token::Sign(']'),
    ];
    let is_marker =
        |at: usize| tokens[at..].iter().map(|(token, _)| token).take(marker.len()).eq(marker.iter());
    let (mut shown, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !is_marker(at) {
            shown.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at = item_end(tokens, at + marker.len());
    }
    shown
}

/// Where the item that starts here ends: after its `;` or its outermost braces.
fn item_end(tokens: &[(Token, usize)], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some((token, _)) = tokens.get(at) {
        at += 1;
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign(sign @ ('}' | ')' | ']')) => {
                depth = depth.saturating_sub(1);
                if depth == 0 && *sign == '}' {
                    return at;
                }
            }
            Token::Sign(';') if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

/// Words and signs with the line they are in.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let at = |n: usize| chars.get(n).copied().unwrap_or('\0');
    let (mut found, mut n, mut line) = (Vec::new(), 0, 1);
    while n < chars.len() {
        let start = n;
        match at(n) {
            '/' if at(n + 1) == '/' => n = end_of_line(&chars, n),
            '/' if at(n + 1) == '*' => n = end_of_comment(&chars, n),
            '"' => n = end_of_text(&chars, n),
            '\'' => n = end_of_character(&chars, n),
            ':' if at(n + 1) == ':' => {
                found.push((Token::Colons, line));
                n += 2;
            }
            c if c.is_alphabetic() || c == '_' => {
                while at(n).is_alphanumeric() || at(n) == '_' {
                    n += 1;
                }
                let word: String = chars[start..n].iter().collect();
                let prefix = matches!(word.as_str(), "r" | "b" | "br" | "c" | "cr");
                if prefix && at(n) == '#' && at(n + 1) != '#' && at(n + 1) != '"' {
                    // A raw identifier: r#type.
                    n += 1;
                } else if prefix && word.ends_with('r') && matches!(at(n), '"' | '#') {
                    n = end_of_raw_text(&chars, n);
                } else if prefix && at(n) == '"' {
                    n = end_of_text(&chars, n);
                } else if word == "b" && at(n) == '\'' {
                    n = end_of_character(&chars, n);
                } else {
                    found.push((Token::Word(word), line));
                }
            }
            c => {
                if !c.is_whitespace() {
                    found.push((Token::Sign(c), line));
                }
                n += 1;
            }
        }
        line += chars[start..n.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn end_of_line(chars: &[char], start: usize) -> usize {
    chars[start..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| start + n)
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let (mut n, mut depth) = (start, 0);
    while n + 1 < chars.len() {
        match (chars[n], chars[n + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                n += 1;
                continue;
            }
        }
        n += 2;
        if depth == 0 {
            return n;
        }
    }
    chars.len()
}

fn end_of_text(chars: &[char], start: usize) -> usize {
    let mut n = start + 1;
    while n < chars.len() && chars[n] != '"' {
        n += if chars[n] == '\\' { 2 } else { 1 };
    }
    n + 1
}

fn end_of_raw_text(chars: &[char], start: usize) -> usize {
    let hashes = chars[start..].iter().take_while(|c| **c == '#').count();
    let mut n = start + hashes + 1;
    while n < chars.len() {
        let closes =
            chars[n] == '"' && chars[n + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        n += 1;
        if closes {
            return n + hashes;
        }
    }
    n
}

/// A character, or a lifetime, which has no end to look for.
fn end_of_character(chars: &[char], start: usize) -> usize {
    match (chars.get(start + 1), chars.get(start + 2)) {
        (Some('\\'), _) => {
            let mut n = start + 3;
            while n < chars.len() && chars[n] != '\'' {
                n += 1;
            }
            n + 1
        }
        (Some(_), Some('\'')) => start + 3,
        _ => start + 1,
    }
}
