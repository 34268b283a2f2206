//! An executor that runs nothing, in place of the Python process (`--python`): for tests and measurements of workers by the
//! hundred. It keeps `docs/executor-protocol.md` as far as a worker without tasks needs it.

use protocol::msgpack::Reader;
use protocol::{Value, array, encode_value, map};
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--channel");
    let channel = arguments.nth(1).and_then(|number| number.parse().ok());
    let channel = channel.ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the worker made this descriptor for us, and nobody else here has it.
    let mut line = unsafe { UnixStream::from_raw_fd(channel) };
    let sources = length(&mut line)?;
    io::copy(&mut (&line).take(sources.into()), &mut io::sink())?;
    loop {
        let size = length(&mut line)?;
        let _descriptors = length(&mut line)?;
        let mut body = vec![0; size as usize];
        line.read_exact(&mut body)?;
        for answer in answers(&body.into()) {
            let Some(answer) = answer else {
                return Ok(());
            };
            let body = &encode_value(&array![answer]).0[0];
            line.write_all(&(body.len() as u32).to_le_bytes())?;
            line.write_all(&[0; 4])?;
            line.write_all(body)?;
        }
    }
}

fn length(line: &mut UnixStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    line.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// What there is to say to a packet; nothing more after a `None`.
fn answers(body: &bytes::Bytes) -> Vec<Option<Value>> {
    let Ok(Value::Array(messages)) = Value::read_plain(&mut Reader::new(body)) else {
        return vec![None];
    };
    let answers = messages.into_iter().filter_map(|message| {
        let parts = message.as_array()?;
        let number = || parts.get(1).cloned().unwrap_or_default();
        match parts.first()?.as_str()? {
            "start" => Some(Some(ready())),
            "ping" => Some(Some(array!["pong", number()])),
            "call" => Some(Some(array!["answer", number(), Value::Array(Vec::new())])),
            "close" => Some(None),
            _ => None,
        }
    });
    answers.collect()
}

fn ready() -> Value {
    let nothing = || Value::Map(Vec::new());
    let facts = map! {
        "pid" => std::process::id(),
        "versions" => map! {"host" => nothing(), "packages" => nothing()},
        "handlers" => Value::Array(Vec::new()),
        "startup_information" => nothing(),
    };
    array!["ready", facts]
}
