//! Accepts connections and hands each request to its place: a stream, a nanny's registration, or an RPC handler.

use crate::context::Context;
use crate::rpc::{self, RpcError};
use crate::streams;
use protocol::messages::{Request, error_reply, pickled_error_reply};
use protocol::{Value, decode_message, encode_value, map};
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};
use transport::{Connection, Listener, Reader, TransportError, Writer};

/// How long to wait before accepting again when that failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the task is dropped.
pub async fn accept(ctx: Arc<Context>, listener: Listener) {
    loop {
        match listener.accept().await {
            Ok(incoming) => {
                let ctx = Arc::clone(&ctx);
                tokio::spawn(async move {
                    match incoming.handshake().await {
                        Ok(connection) => serve(&ctx, connection).await,
                        Err(error) => debug!(error = %error, "handshake failed"),
                    }
                });
            }
            Err(error) => {
                warn!(error = %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection until it ends or becomes a stream.
async fn serve(ctx: &Arc<Context>, connection: Connection) {
    let peer = connection.peer().to_string();
    let (mut reader, mut writer) = connection.split();
    if let Err(error) = answer(ctx, &mut reader, &mut writer).await {
        debug!(peer, error = %error, "connection dropped");
    }
}

/// Why a connection was dropped.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("read or write")]
    Transport(#[from] TransportError),
    #[error("message not understood")]
    Decode(#[from] protocol::DecodeError),
    #[error("request not understood")]
    Request(#[from] protocol::messages::RequestError),
    #[error(transparent)]
    Stopped(#[from] crate::core_loop::Stopped),
}

async fn answer(
    ctx: &Arc<Context>,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), ConnectionError> {
    loop {
        let frames = match reader.recv().await {
            Ok(frames) => frames,
            Err(error) if error.is_closed() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let message = decode_message(&frames)?;
        // A late acknowledgement of an earlier reply asks for nothing.
        if message.is_str("OK") {
            continue;
        }
        let request = Request::from_value(message)?;
        let operation = request.op.to_string_lossy().into_owned();
        match operation.as_str() {
            "register-client" => {
                streams::client::serve(ctx, request.arguments, reader, writer).await;
                return Ok(());
            }
            "register-worker" => {
                streams::worker::serve(ctx, request.arguments, reader, writer).await;
                return Ok(());
            }
            "register_nanny" => {
                register_nanny(ctx, reader, writer).await?;
                return Ok(());
            }
            "subscribe_worker_status" => {
                let events = ctx.status_feed.subscribe();
                let identity = ctx.core.call(|core, _, _| core.worker_status_identity()).await?;
                let identity = ctx.complete_identity(identity);
                streams::status::serve(identity, events, reader, writer).await;
                return Ok(());
            }
            "close" => {
                if request.reply {
                    writer.send(encode_value(&Value::text("OK"))).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        let (wants_reply, closes) = (request.reply, request.close);
        let reply = match rpc::handle(ctx, &operation, request.arguments).await {
            Ok(reply) => reply,
            Err(error) => failure(&operation, error),
        };
        if wants_reply {
            writer.send(encode_value(&reply)).await?;
        }
        if closes {
            return Ok(());
        }
    }
}

/// A nanny asks for its plugins and says afterwards how that went.
async fn register_nanny(
    ctx: &Context,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), ConnectionError> {
    let _starting = ctx.plugins.nanny_starts();
    let reply = map! {"status" => "OK", "nanny-plugins" => ctx.plugins.for_nannies()};
    writer.send(encode_value(&reply)).await?;
    let confirmation = reader.recv().await?;
    debug!(bytes = confirmation.total_len(), "nanny registered");
    Ok(())
}

/// The reply that makes the caller raise.
fn failure(operation: &str, error: RpcError) -> Value {
    debug!(operation, error = %error, "request failed");
    match error {
        RpcError::Exception {
            module,
            class,
            message,
        } => {
            let pickle = protocol::pickle::exception(module, class, &[Value::from(message.as_str())]);
            pickled_error_reply(&pickle.into(), &message)
        }
        RpcError::Pickled {
            exception, text, ..
        } => pickled_error_reply(&exception, &text),
        RpcError::Stopped(stopped) => error_reply(&stopped.to_string()),
    }
}
