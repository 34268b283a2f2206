//! Rust sources as far as the rules look at them: without comments, without texts, without their tests.
//!
//! A scanner, no parser. Invariant: what it hands out has the lines of the file it came from.

use std::fs;
use std::path::{Path, PathBuf};

/// Every `.rs` file below a directory that is part of the program: no `tests` directory, no `tests.rs`.
pub fn program_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            found.extend(program_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a file: comments and the contents of texts blanked, tests at its end left out.
pub fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("sources are readable UTF-8");
    without_tests(&without_comments_and_texts(&text)).to_owned()
}

/// Cuts off the test module, which closes a file here.
fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod ")
        .map_or(code, |tests| &code[..tests])
}

/// Blanks comments and the insides of texts and characters; keeps every line break.
pub fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest, &code));
        if let Some(length) = skipped {
            code.extend(rest[..length].chars().filter(|c| *c == '\n'));
            code.push(' ');
            rest = &rest[length..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(rest.len())
}

/// The length of the text or character that starts here.
fn literal(rest: &str, before: &str) -> Option<usize> {
    let inside_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if inside_word || !raw[hashes..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - raw.len() + hashes + 1;
    Some(
        rest[start..]
            .find(&end)
            .map_or(rest.len(), |at| start + at + end.len()),
    )
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character, but no lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.chars().skip(1);
    let first = characters.next()?;
    let is_character = first == '\\' || characters.next() == Some('\'');
    is_character.then(|| quoted(rest, '\''))
}

/// Every path that begins with the given crate, grouped imports taken apart: `std::{fs, net::IpAddr}` gives `std::fs` and
/// `std::net::IpAddr`.
pub fn paths_into(code: &str, crate_name: &str) -> Vec<(usize, String)> {
    let start = format!("{crate_name}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&start) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        for path in expand(&code[at + start.len()..]) {
            found.push((line, format!("{start}{path}")));
        }
    }
    found
}

/// The paths written at the start of a text, one for each leaf of its groups.
fn expand(text: &str) -> Vec<String> {
    if let Some(group) = text.strip_prefix('{') {
        return members(group)
            .into_iter()
            .flat_map(|member| expand(member.trim()))
            .collect();
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest)
            .into_iter()
            .map(|path| format!("{word}::{path}"))
            .collect(),
        None => vec![word.to_owned()],
    }
}

/// The members of a group, up to the brace that closes it.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    members.retain(|member| !member.trim().is_empty());
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_no_code() {
        let code = without_comments_and_texts(
            "a /* x /* y */ z */ b // c\n\"std::fs \\\" q\" r#\"std::net \" \"# 'x' '\\'' <'a> d",
        );
        assert_eq!(
            code.split_whitespace().collect::<Vec<_>>(),
            ["a", "b", "<'a>", "d"]
        );
        assert_eq!(code.matches('\n').count(), 1);
    }

    #[test]
    fn grouped_imports_are_taken_apart() {
        let code = "use std::{fs, net::{IpAddr, TcpStream}, fmt as f};\nlet x = std::time::Instant::now();\nxstd::no";
        let paths: Vec<_> = paths_into(code, "std");
        let texts: Vec<_> = paths
            .iter()
            .map(|(line, path)| (*line, path.as_str()))
            .collect();
        assert_eq!(
            texts,
            [
                (1, "std::fs"),
                (1, "std::net::IpAddr"),
                (1, "std::net::TcpStream"),
                (1, "std::fmt"),
                (2, "std::time::Instant::now"),
            ]
        );
    }

    #[test]
    fn the_tests_of_a_file_are_left_out() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\n b }"), "a\n");
    }
}
