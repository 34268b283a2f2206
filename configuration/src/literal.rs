//! Reads a Python literal, the form in which environment variables carry Dask configuration.
//!
//! Owns the grammar of `ast.literal_eval` as far as configuration uses it: numbers, strings, `None`, `True`, `False`,
//! lists, tuples, sets and dictionaries. Invariant: a text is either read completely or not at all, and nesting is
//! bounded, so that no environment can exhaust the stack.

use super::tree::Raw;

const DEEPEST_NESTING: usize = 64;

/// What an environment variable's text stands for: a literal, one of the words both YAML and Python users write,
/// or else the text itself.
pub fn interpret(text: &str) -> Raw {
    if let Some(value) = parse(text) {
        return value;
    }
    match text.to_lowercase().as_str() {
        "none" | "null" => Raw::Null,
        "true" => Raw::Bool(true),
        "false" => Raw::Bool(false),
        _ => Raw::Text(text.to_owned()),
    }
}

/// The literal a text consists of, if it is one.
pub fn parse(text: &str) -> Option<Raw> {
    let mut reader = Reader {
        rest: text.trim_matches([' ', '\t', '\n', '\r']),
        depth: 0,
    };
    let value = reader.value()?;
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Option<Raw> {
        self.depth += 1;
        if self.depth > DEEPEST_NESTING {
            return None;
        }
        self.skip_space();
        let value = match self.rest.chars().next()? {
            '[' => Raw::List(self.items('[', ']')?.0),
            '(' => self.tuple()?,
            '{' => self.braces()?,
            '+' | '-' | '.' | '0'..='9' => self.number()?,
            '"' | '\'' => self.strings()?,
            _ => self.word()?,
        };
        self.skip_space();
        self.depth -= 1;
        Some(value)
    }

    /// Reads a parenthesised value: a tuple, or one value in parentheses.
    fn tuple(&mut self) -> Option<Raw> {
        let (mut items, trailing_comma) = self.items('(', ')')?;
        if items.len() == 1 && !trailing_comma {
            return items.pop();
        }
        Some(Raw::List(items))
    }

    fn items(&mut self, open: char, close: char) -> Option<(Vec<Raw>, bool)> {
        self.eat(open)?;
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.eat(close).is_some() {
                let trailing_comma = !items.is_empty();
                return Some((items, trailing_comma));
            }
            items.push(self.value()?);
            if self.eat(',').is_none() {
                self.eat(close)?;
                return Some((items, false));
            }
        }
    }

    /// Reads a dictionary or a set.
    fn braces(&mut self) -> Option<Raw> {
        self.eat('{')?;
        let (mut pairs, mut members) = (Vec::new(), Vec::new());
        loop {
            self.skip_space();
            if self.eat('}').is_some() {
                break;
            }
            let key = self.value()?;
            if self.eat(':').is_some() {
                pairs.push((key, self.value()?));
            } else {
                members.push(key);
            }
            if self.eat(',').is_none() {
                self.eat('}')?;
                break;
            }
        }
        match (pairs.is_empty(), members.is_empty()) {
            (_, true) => Some(Raw::Map(pairs)),
            (true, false) => Some(Raw::List(members)),
            (false, false) => None,
        }
    }

    fn number(&mut self) -> Option<Raw> {
        let negative = match self.rest.chars().next()? {
            '-' => self.eat('-').map(|()| true)?,
            '+' => self.eat('+').map(|()| false)?,
            _ => false,
        };
        self.skip_space();
        let end = self.number_end();
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let value = unsigned_number(text)?;
        Some(match value {
            Raw::Int(n) if negative => Raw::Int(n.checked_neg()?),
            Raw::Float(n) if negative => Raw::Float(-n),
            other => other,
        })
    }

    /// Where the number at the start of the rest ends; a sign belongs to it only after the `e` of a decimal one.
    fn number_end(&self) -> usize {
        let hexadecimal = self.rest.starts_with("0x") || self.rest.starts_with("0X");
        let mut previous = ' ';
        for (at, c) in self.rest.char_indices() {
            let exponent_sign =
                matches!(c, '+' | '-') && matches!(previous, 'e' | 'E') && !hexadecimal;
            if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent_sign) {
                return at;
            }
            previous = c;
        }
        self.rest.len()
    }

    /// Reads string literals standing side by side as one.
    fn strings(&mut self) -> Option<Raw> {
        let mut text = String::new();
        loop {
            self.string(false, &mut text)?;
            self.skip_space();
            if !self.rest.starts_with(['"', '\'']) {
                return Some(Raw::Text(text));
            }
        }
    }

    fn string(&mut self, verbatim: bool, text: &mut String) -> Option<()> {
        let quote = self.rest.chars().next()?;
        let triple: String = [quote; 3].iter().collect();
        let (end, newline_allowed) = if self.rest.starts_with(&triple) {
            (triple, true)
        } else {
            (quote.to_string(), false)
        };
        self.rest = &self.rest[end.len()..];
        loop {
            if let Some(rest) = self.rest.strip_prefix(&end) {
                self.rest = rest;
                return Some(());
            }
            match self.next_char()? {
                '\\' if verbatim => {
                    text.push('\\');
                    text.push(self.next_char()?);
                }
                '\\' => self.escape(text)?,
                '\n' if !newline_allowed => return None,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let c = self.next_char()?;
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(c),
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'x' => text.push(self.hexadecimal(2)?),
            'u' => text.push(self.hexadecimal(4)?),
            'U' => text.push(self.hexadecimal(8)?),
            other => text.extend(['\\', other]),
        }
        Some(())
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<char> {
        let code = self.rest.get(..digits)?;
        self.rest = &self.rest[digits..];
        char::from_u32(u32::from_str_radix(code, 16).ok()?)
    }

    /// Reads a constant, or a string with a prefix (`r"…"`, `u"…"`, `b"…"`).
    fn word(&mut self) -> Option<Raw> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "None" => return Some(Raw::Null),
            "True" => return Some(Raw::Bool(true)),
            "False" => return Some(Raw::Bool(false)),
            _ => {}
        }
        let prefix = word.to_lowercase();
        if !rest.starts_with(['"', '\'']) {
            return None;
        }
        let verbatim = match prefix.as_str() {
            "r" | "rb" | "br" => true,
            "u" | "b" => false,
            _ => return None,
        };
        let mut text = String::new();
        self.string(verbatim, &mut text)?;
        Some(Raw::Text(text))
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}

/// Reads an integer or float without a sign. `010` is none: Python refuses leading zeros.
fn unsigned_number(text: &str) -> Option<Raw> {
    let lower = text.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            let digits = without_underscores(digits.strip_prefix('_').unwrap_or(digits))?;
            return i64::from_str_radix(&digits, radix).ok().map(Raw::Int);
        }
    }
    let digits = without_underscores(&lower)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        if leading_zero && digits.bytes().any(|byte| byte != b'0') {
            return None;
        }
        return match digits.parse() {
            Ok(n) => Some(Raw::Int(n)),
            Err(_) => digits.parse().ok().map(Raw::Float),
        };
    }
    let decimal = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-'));
    if !decimal {
        return None;
    }
    digits.parse().ok().map(Raw::Float)
}

/// Takes out underscores, each of which must stand between two digits.
fn without_underscores(text: &str) -> Option<String> {
    if text.is_empty() || text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return None;
    }
    Some(text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn a_literal_is_read_as_python_reads_it() {
        for (source, value) in [
            ("3", Raw::Int(3)),
            ("-3", Raw::Int(-3)),
            ("+1_000", Raw::Int(1000)),
            ("0x10", Raw::Int(16)),
            ("0b101", Raw::Int(5)),
            ("00", Raw::Int(0)),
            ("1.5", Raw::Float(1.5)),
            ("1e3", Raw::Float(1000.0)),
            ("1E-3", Raw::Float(0.001)),
            (".5", Raw::Float(0.5)),
            ("2.", Raw::Float(2.0)),
            ("1e999", Raw::Float(f64::INFINITY)),
            ("None", Raw::Null),
            ("True", Raw::Bool(true)),
            ("'a b'", text("a b")),
            (r#""tab\t\x41""#, text("tab\tA")),
            (r"r'\n'", text("\\n")),
            ("'a' 'b'", text("ab")),
            ("'''x\ny'''", text("x\ny")),
            ("[1, 'x', ]", Raw::List(vec![Raw::Int(1), text("x")])),
            ("(1)", Raw::Int(1)),
            ("(1,)", Raw::List(vec![Raw::Int(1)])),
            ("{}", Raw::Map(vec![])),
            (
                "{'a': [True]}",
                Raw::Map(vec![(text("a"), Raw::List(vec![Raw::Bool(true)]))]),
            ),
            ("{1, 2}", Raw::List(vec![Raw::Int(1), Raw::Int(2)])),
        ] {
            assert_eq!(parse(source), Some(value), "{source}");
        }
    }

    #[test]
    fn what_is_no_literal_stays_a_text() {
        for source in [
            "inf",
            "tcp://10.0.0.1:8786",
            "127.0.0.1",
            "5 minutes",
            "010",
            "1__0",
            "[1",
            "{1: 2, 3}",
            "'open",
            "f'x'",
            "1j",
            "",
            ":8787",
        ] {
            assert_eq!(interpret(source), text(source), "{source}");
        }
    }

    #[test]
    fn yaml_words_are_understood_in_the_environment() {
        assert_eq!(interpret("null"), Raw::Null);
        assert_eq!(interpret("none"), Raw::Null);
        assert_eq!(interpret("true"), Raw::Bool(true));
        assert_eq!(interpret("FALSE"), Raw::Bool(false));
    }

    #[test]
    fn deep_nesting_is_refused_instead_of_exhausting_the_stack() {
        assert_eq!(parse(&"[".repeat(100_000)), None);
        assert!(parse(&format!("{}{}", "[".repeat(60), "]".repeat(60))).is_some());
    }
}
