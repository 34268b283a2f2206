//! Rows in columns, as command line tools show them: no borders, the last column as long as it likes.

/// Space between two columns.
const GAP: &str = "   ";

/// Text of rows under their headings, each line indented by `indent`.
pub fn table(indent: &str, headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths = widths(headings, rows);
    let headings: Vec<String> = headings
        .iter()
        .map(|heading| (*heading).to_owned())
        .collect();
    let mut text = line(indent, &widths, &headings);
    for row in rows {
        text.push_str(&line(indent, &widths, row));
    }
    text
}

/// How wide each column is.
pub fn widths(headings: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = headings
        .iter()
        .map(|heading| heading.chars().count())
        .collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

/// One row. A cell wider than its column moves the others.
pub fn line(indent: &str, widths: &[usize], cells: &[String]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    format!("{}\n", format!("{indent}{}", padded.join(GAP)).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["a".to_owned(), "long value".to_owned()],
            vec!["longer".to_owned(), String::new()],
        ];
        assert_eq!(
            table("  ", &["NAME", "X"], &rows),
            "  NAME     X\n  a        long value\n  longer\n"
        );
    }
}
