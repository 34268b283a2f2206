//! Where a field stands in a YAML text: the line of its key, found by following indentation.
//!
//! The YAML library keeps no places for data it has read. This reader knows block style only; inside
//! flow style (`{a: 1}`) it answers the line where the flow begins.

use crate::refusal::Location;

/// The place of a field such as `spec.workerGroups[0].name`, as far down as it can be followed.
pub(crate) fn locate(text: &str, document: usize, field: &str) -> Option<Location> {
    let lines = lines_of(text, document);
    let mut range = 0..lines.len();
    let mut found = None;
    for step in steps(field) {
        let Some((at, column, inside)) = find(&lines, range.clone(), &step) else {
            break;
        };
        found = Some(Location {
            line: lines[at].number,
            column: Some(column),
        });
        range = inside;
    }
    found
}

struct Line<'a> {
    /// From 1, in the whole text.
    number: usize,
    indent: usize,
    content: &'a str,
}

/// Lines of one document, without empty ones and comments.
fn lines_of(text: &str, document: usize) -> Vec<Line<'_>> {
    let mut current = 0;
    let mut seen_content = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            current += usize::from(seen_content || current > 0);
            seen_content = true;
            continue;
        }
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        seen_content = true;
        if current == document {
            lines.push(Line {
                number: index + 1,
                indent: line.len() - content.len(),
                content,
            });
        }
    }
    lines
}

enum Step {
    Key(String),
    Index(usize),
}

/// `a.b[0].c[main.py]` in steps.
fn steps(field: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (inside, after) = inner.split_once(']').unwrap_or((inner, ""));
            steps.push(
                inside
                    .parse()
                    .map_or_else(|_| Step::Key(inside.to_owned()), Step::Index),
            );
            rest = after;
        } else {
            let rest_of_key = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest_of_key.find(['.', '[']).unwrap_or(rest_of_key.len());
            steps.push(Step::Key(rest_of_key[..end].to_owned()));
            rest = &rest_of_key[end..];
        }
    }
    steps
}

/// The line of a key or item among the direct children in a range, its column, and the range inside it.
fn find(
    lines: &[Line<'_>],
    range: std::ops::Range<usize>,
    step: &Step,
) -> Option<(usize, usize, std::ops::Range<usize>)> {
    let children = lines.get(range.start)?.indent;
    let mut items = 0;
    for at in range.clone() {
        let line = &lines[at];
        if line.indent != children {
            continue;
        }
        let matches = match step {
            Step::Key(key) => key_of(line.content) == Some(key.as_str()),
            Step::Index(index) => {
                items += usize::from(is_item(line.content));
                is_item(line.content) && items == index + 1
            }
        };
        if matches {
            return Some((at, line.indent + 1, inside(lines, at, range.end, step)));
        }
    }
    None
}

/// Lines below a key or an item. An item's first key stands on its own line (`- name: x`), which this
/// reader cannot split, so a list of maps is followed by its item only.
fn inside(lines: &[Line<'_>], at: usize, end: usize, step: &Step) -> std::ops::Range<usize> {
    let indent = lines[at].indent;
    let deeper = |line: &Line<'_>| {
        line.indent > indent
            || (matches!(step, Step::Key(_)) && line.indent == indent && is_item(line.content))
    };
    let stop = (at + 1..end)
        .find(|index| !deeper(&lines[*index]))
        .unwrap_or(end);
    at + 1..stop
}

fn is_item(content: &str) -> bool {
    content == "-" || content.starts_with("- ")
}

fn key_of(content: &str) -> Option<&str> {
    let (key, _) = content.split_once(':')?;
    Some(key.trim_end().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
apiVersion: daskjob.dev/v1alpha1
# a comment
metadata: {name: x}
spec:
  job:
    command: [python, main.py]
    files:
      main.py: |
        spec:
          workers: 1
  workers:
    numberOfWorkers: 0
  workerGroups:
  - name: a
    threads: 1
  - name: b
    threads: 0
";

    fn line(field: &str) -> Option<usize> {
        locate(TEXT, 0, field).map(|location| location.line)
    }

    #[test]
    fn a_field_is_found_at_its_key() {
        assert_eq!(line("spec"), Some(4));
        assert_eq!(line("spec.job.command"), Some(6));
        assert_eq!(line("spec.job.files[main.py]"), Some(8));
        assert_eq!(line("spec.workers.numberOfWorkers"), Some(12));
        assert_eq!(line("spec.workerGroups[1].threads"), Some(17));
    }

    #[test]
    fn a_field_that_is_missing_or_in_flow_style_is_found_at_its_parent() {
        assert_eq!(line("metadata.name"), Some(3));
        assert_eq!(line("spec.job.command[1]"), Some(6));
        assert_eq!(line("spec.workers.threads"), Some(11));
        assert_eq!(line("nothing"), None);
    }

    #[test]
    fn documents_are_told_apart() {
        let text = "---\na: 1\n---\nspec:\n  job: 1\n";
        assert_eq!(
            locate(text, 1, "spec.job").map(|location| location.line),
            Some(5)
        );
        assert_eq!(locate(text, 0, "spec.job"), None);
    }
}
