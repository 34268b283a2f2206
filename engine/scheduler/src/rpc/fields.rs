//! The fields of a request, read by name: a missing or ill-typed one becomes the TypeError that the caller sees.
//!
//! Fields that nobody asks for are ignored, so that a newer peer may send more than we know.

use super::RpcError;
use bytes::Bytes;
use configuration::units;
use protocol::{Key, Text, Value};

/// The keyword arguments of one request.
pub struct Fields {
    op: String,
    request: Value,
}

impl Fields {
    /// `request` is a map; anything else has no fields.
    pub fn new(op: &str, request: Value) -> Self {
        Self {
            op: op.to_owned(),
            request,
        }
    }

    /// The field as it is; a null is the same as no field.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.request.take(name).filter(|value| !value.is_nil())
    }

    /// The field as it is, also when it is null; `None` only when it was not sent.
    pub fn take_any(&mut self, name: &str) -> Option<Value> {
        self.request.take(name)
    }

    pub fn required(&mut self, name: &str) -> Result<Value, RpcError> {
        self.request.take(name).ok_or_else(|| {
            RpcError::type_error(format!(
                "{} is missing the required argument '{name}'",
                self.op
            ))
        })
    }

    /// Whether a field that is neither missing nor null.
    pub fn has(&self, name: &str) -> bool {
        self.request.get(name).is_some_and(|value| !value.is_nil())
    }

    pub fn text(&mut self, name: &str) -> Result<Text, RpcError> {
        match self.required(name)? {
            Value::Str(text) => Ok(text),
            other => Err(self.wrong(name, "a string", &other)),
        }
    }

    pub fn optional_text(&mut self, name: &str) -> Result<Option<Text>, RpcError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a string", &other)),
        }
    }

    pub fn string(&mut self, name: &str) -> Result<String, RpcError> {
        Ok(self.text(name)?.to_string_lossy().into_owned())
    }

    pub fn bytes(&mut self, name: &str) -> Result<Bytes, RpcError> {
        match self.required(name)? {
            Value::Bin(bytes) => Ok(bytes),
            other => Err(self.wrong(name, "bytes", &other)),
        }
    }

    /// What Python's `bool()` makes of the field.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.request
            .take(name)
            .map_or(default, |value| value.is_truthy())
    }

    pub fn optional_number(&mut self, name: &str) -> Result<Option<f64>, RpcError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) if !number.is_nan() => Ok(Some(number)),
            _ => Err(self.wrong(name, "a number", &value)),
        }
    }

    pub fn optional_int(&mut self, name: &str) -> Result<Option<i64>, RpcError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, "an integer", &value)),
        }
    }

    /// A duration in seconds: a number, or a text such as `"500 ms"`.
    pub fn optional_seconds(&mut self, name: &str) -> Result<Option<f64>, RpcError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let seconds = match &value {
            Value::Str(text) => units::parse_timedelta(&text.to_string_lossy()).ok(),
            other => other.as_f64(),
        };
        match seconds {
            Some(seconds) if !seconds.is_nan() => Ok(Some(seconds)),
            _ => Err(self.wrong(name, "a number of seconds or a time such as '5s'", &value)),
        }
    }

    pub fn map(&mut self, name: &str) -> Result<Vec<(Value, Value)>, RpcError> {
        match self.required(name)? {
            Value::Map(entries) => Ok(entries),
            other => Err(self.wrong(name, "a mapping", &other)),
        }
    }

    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, RpcError> {
        match self.required(name)? {
            Value::Array(items) | Value::Set(items) => Ok(items),
            other => Err(self.wrong(name, "a list", &other)),
        }
    }

    pub fn optional_list(&mut self, name: &str) -> Result<Option<Vec<Value>>, RpcError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items) | Value::Set(items)) => Ok(Some(items)),
            Some(other) => Err(self.wrong(name, "a list", &other)),
        }
    }

    pub fn key(&mut self, name: &str) -> Result<Key, RpcError> {
        let value = self.required(name)?;
        value
            .as_key()
            .ok_or_else(|| self.wrong(name, "a task key", &value))
    }

    pub fn keys(&mut self, name: &str) -> Result<Vec<Key>, RpcError> {
        let items = self.list(name)?;
        self.as_keys(name, &items)
    }

    pub fn optional_keys(&mut self, name: &str) -> Result<Option<Vec<Key>>, RpcError> {
        match self.optional_list(name)? {
            None => Ok(None),
            Some(items) => self.as_keys(name, &items).map(Some),
        }
    }

    fn as_keys(&self, name: &str, items: &[Value]) -> Result<Vec<Key>, RpcError> {
        let key = |item: &Value| {
            item.as_key()
                .ok_or_else(|| self.wrong(name, "a list of task keys", item))
        };
        items.iter().map(key).collect()
    }

    /// The error for a field of the wrong type.
    pub fn wrong(&self, name: &str, expected: &str, found: &Value) -> RpcError {
        RpcError::type_error(format!(
            "argument '{name}' of {} must be {expected}, not {}",
            self.op,
            found.type_name()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{array, map};

    fn fields(request: Value) -> Fields {
        Fields::new("some_op", request)
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = fields(map! {}).text("name").unwrap_err();
        assert_eq!(
            error.to_string(),
            "TypeError: some_op is missing the required argument 'name'"
        );
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named_with_what_was_found() {
        let error = fields(map! {"keys" => "x"}).keys("keys").unwrap_err();
        assert_eq!(
            error.to_string(),
            "TypeError: argument 'keys' of some_op must be a list, not str"
        );
    }

    #[test]
    fn null_is_no_field() {
        let mut fields = fields(map! {"keys" => Value::Nil});
        assert!(fields.optional_keys("keys").unwrap().is_none());
    }

    #[test]
    fn keys_keep_their_types() {
        let mut fields = fields(map! {"keys" => array!["x", 1, array!["x", 1]]});
        let keys = fields.keys("keys").unwrap();
        let tuple = Key::tuple(&[Key::str("x"), Key::int(1)]);
        assert_eq!(keys, [Key::str("x"), Key::int(1), tuple]);
    }

    #[test]
    fn a_duration_is_a_number_of_seconds_or_a_text_with_unit() {
        for (value, seconds) in [
            (Value::from(2), 2.0),
            (Value::from("500 ms"), 0.5),
            (Value::from(0.25), 0.25),
        ] {
            let mut fields = fields(map! {"timeout" => value});
            assert_eq!(fields.optional_seconds("timeout").unwrap(), Some(seconds));
        }
    }
}
