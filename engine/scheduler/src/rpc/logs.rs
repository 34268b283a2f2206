//! `get_logs`: the newest lines of this scheduler's own log.

use super::RpcError;
use super::fields::Fields;
use protocol::{Value, array};
use telemetry::recent;

/// `[[level, message], …]`, newest first; with `timestamps`, `[[time, level, message], …]`.
pub fn get_logs(mut fields: Fields) -> Result<Value, RpcError> {
    let start = fields.optional_number("start")?.unwrap_or(0.0);
    let count = match fields.optional_int("n")? {
        None | Some(0) => usize::MAX,
        Some(count) => usize::try_from(count).unwrap_or(0),
    };
    let timestamps = fields.flag("timestamps", false);
    let lines = recent::newest().into_iter();
    Ok(lines
        .take_while(|line| line.seconds >= start)
        .take(count)
        .map(|line| {
            if timestamps {
                array![line.seconds, line.level, line.message]
            } else {
                array![line.level, line.message]
            }
        })
        .collect())
}
