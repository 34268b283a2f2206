//! From the bytes of a log to its lines, each with the time the kubelet gives it. Bounded: a line without an end is
//! handed on in pieces.

/// The most bytes that are held back for the end of a line.
const LONGEST_PIECE_BYTES: usize = 64 * 1024;

/// A line, or a piece of one that is too long.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// When it was written, as the kubelet says; of the first piece of a line.
    pub time: Option<String>,
    /// With the end of the line, if that has come.
    pub text: Vec<u8>,
    pub begins_line: bool,
}

/// Cuts a log that comes in any portions.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
    inside_line: bool,
}

impl Lines {
    /// What is complete after these bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.held.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        let mut begin = 0;
        while let Some(length) = self.held[begin..].iter().position(|byte| *byte == b'\n') {
            let end = begin + length + 1;
            pieces.push(piece(&self.held[begin..end], !self.inside_line));
            self.inside_line = false;
            begin = end;
        }
        self.held.drain(..begin);
        if self.held.len() >= LONGEST_PIECE_BYTES {
            pieces.extend(self.flush());
            self.inside_line = true;
        }
        pieces
    }

    /// What is left when the log ends without the end of a line.
    pub fn flush(&mut self) -> Option<Piece> {
        let held = std::mem::take(&mut self.held);
        let begins_line = !std::mem::take(&mut self.inside_line);
        (!held.is_empty()).then(|| piece(&held, begins_line))
    }
}

fn piece(text: &[u8], begins_line: bool) -> Piece {
    let (time, text) = match begins_line {
        true => split_time(text),
        false => (None, text),
    };
    Piece {
        time,
        text: text.to_vec(),
        begins_line,
    }
}

/// The kubelet writes `2026-11-21T12:00:00.000000000Z` and a space before each line. Its own complaints have none.
fn split_time(line: &[u8]) -> (Option<String>, &[u8]) {
    let Some(space) = line.iter().take(40).position(|byte| *byte == b' ') else {
        return (None, line);
    };
    let word = &line[..space];
    let is_time = word.len() >= 20
        && word[..4].iter().all(u8::is_ascii_digit)
        && word[10] == b'T'
        && word.is_ascii();
    match is_time {
        true => (
            Some(String::from_utf8_lossy(word).into_owned()),
            &line[space + 1..],
        ),
        false => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-21T12:00:00.000000001Z";

    fn shown(pieces: &[Piece]) -> Vec<(bool, bool, String)> {
        pieces
            .iter()
            .map(|piece| {
                (
                    piece.time.is_some(),
                    piece.begins_line,
                    String::from_utf8_lossy(&piece.text).into_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let log = format!("{TIME} one\n{TIME} \n{TIME} é\n");
        let mut lines = Lines::default();
        let mut pieces = Vec::new();
        for byte in log.as_bytes() {
            pieces.extend(lines.push(&[*byte]));
        }
        let line = |text: &str| (true, true, text.to_owned());
        assert_eq!(shown(&pieces), [line("one\n"), line("\n"), line("é\n")]);
        assert_eq!(lines.flush(), None);
    }

    #[test]
    fn what_the_kubelet_itself_says_has_no_time_and_is_kept() {
        let mut lines = Lines::default();
        let pieces = lines.push(b"unable to retrieve container logs\n");
        assert_eq!(
            shown(&pieces),
            [(
                false,
                true,
                "unable to retrieve container logs\n".to_owned()
            )]
        );
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let mut lines = Lines::default();
        assert!(lines.push(format!("{TIME} end").as_bytes()).is_empty());
        assert_eq!(lines.flush().unwrap().text, b"end");
    }

    #[test]
    fn a_line_without_an_end_is_handed_on_in_pieces() {
        let mut lines = Lines::default();
        let mut begins = Vec::new();
        let mut length = 0;
        let mut all = lines.push(format!("{TIME} ").as_bytes());
        for _ in 0..300 {
            all.extend(lines.push(&[b'x'; 1024]));
        }
        all.extend(lines.push(b"\n"));
        for piece in &all {
            begins.push(piece.begins_line);
            length += piece.text.len();
        }
        assert_eq!(length, 300 * 1024 + 1);
        assert!(begins[0] && begins[1..].iter().all(|begins| !begins) && begins.len() > 3);
    }
}
