//! Reads test counts out of what cargo and pytest print.

/// Outcomes of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    /// Left out on purpose, or failing as is written down.
    pub skipped: u64,
}

impl Tally {
    pub const ONE_PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    pub const ONE_FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Counts a line, if it is the verdict of cargo or pytest.
    pub fn see(&mut self, line: &str) {
        let line = without_colour(line);
        let verdict = if let Some((_, counts)) = line.split_once("test result: ") {
            counts
        } else if line.starts_with('=') && line.ends_with('=') && line.contains(" in ") {
            line.trim_matches(['=', ' '])
        } else {
            return;
        };
        for part in verdict.split([',', ';', '.']) {
            self.count(part.trim());
        }
    }

    fn count(&mut self, part: &str) {
        let mut words = part.split_whitespace();
        let (Some(Ok(count)), Some(word)) = (words.next().map(str::parse::<u64>), words.next())
        else {
            return;
        };
        match word {
            "passed" | "xpassed" => self.passed += count,
            "failed" | "error" | "errors" => self.failed += count,
            "ignored" | "skipped" | "xfailed" => self.skipped += count,
            _ => {}
        }
    }
}

/// A line without terminal escapes.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' {
            characters.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            plain.push(c);
        }
    }
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.see(line);
        }
        tally
    }

    #[test]
    fn the_verdicts_of_cargo_are_added_up() {
        let tally = tally(&[
            "running 3 tests",
            "test result: ok. 37 passed; 0 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.08s",
            "test result: \u{1b}[31mFAILED\u{1b}[0m. 36 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (73, 1, 2));
    }

    #[test]
    fn the_verdict_of_pytest_is_read() {
        let tally = tally(&[
            "===== test session starts =====",
            "\u{1b}[32m=== 2 failed, 120 passed, 3 skipped, 4 xfailed, 1 warning, 1 error in 83.20s (0:01:23) ===\u{1b}[0m",
        ]);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (120, 3, 7));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(
            tally(&["12 passed, I think", "== no in tests =="]),
            Tally::default()
        );
    }
}
