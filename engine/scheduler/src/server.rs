//! Accepts connections and hands each request to its place: a stream, a nanny's registration, or an RPC handler.

use crate::context::Context;
use crate::rpc;
use crate::streams;
use protocol::messages::Request;
use protocol::{Value, decode_message, map};
use std::sync::Arc;
use tracing::debug;
use transport::{Connection, FrameReader, FrameWriter, Listener, RecvError};

/// Accepts until the task is dropped.
pub async fn accept(ctx: Arc<Context>, listener: Listener) {
    loop {
        let incoming = listener.accept().await;
        let ctx = Arc::clone(&ctx);
        tokio::spawn(async move {
            match incoming.establish().await {
                Ok(connection) => serve(&ctx, connection).await,
                Err(error) => debug!(error = %error, "handshake failed"),
            }
        });
    }
}

/// Answers the requests of one connection until it ends or becomes a stream.
async fn serve(ctx: &Arc<Context>, connection: Connection) {
    let (mut reader, writer, peer) = connection.split();
    if let Err(error) = answer(ctx, &mut reader, writer).await {
        debug!(peer = ?peer, error = %error, "connection dropped");
    }
}

/// Why a connection was dropped.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("read")]
    Read(#[from] RecvError),
    #[error("write")]
    Write(#[from] std::io::Error),
    #[error("message not understood")]
    Decode(#[from] protocol::DecodeError),
    #[error("request not understood")]
    Request(#[from] protocol::messages::RequestError),
    #[error(transparent)]
    Stopped(#[from] crate::core_loop::Stopped),
}

async fn answer(
    ctx: &Arc<Context>,
    reader: &mut FrameReader,
    mut writer: FrameWriter,
) -> Result<(), ConnectionError> {
    loop {
        let Some(frames) = reader.recv().await? else {
            return Ok(());
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
                register_nanny(ctx, reader, &mut writer).await?;
                return Ok(());
            }
            "subscribe_worker_status" => {
                let events = ctx.status_feed.subscribe();
                let identity = ctx.identity(None, false).await?;
                streams::status::serve(identity, events, reader, &mut writer).await;
                return Ok(());
            }
            "close" => {
                if request.reply {
                    writer.send_value(&Value::text("OK")).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        let (wants_reply, closes) = (request.reply, request.close);
        let mut arguments = request.arguments;
        if !request.serializers.is_nil() {
            // Handlers that ask workers for data pass this wish on to them.
            arguments.set("serializers", request.serializers);
        }
        let reply = match rpc::handle(ctx, &operation, arguments).await {
            Ok(reply) => reply,
            Err(error) => {
                debug!(operation, error = %error, "request failed");
                error.message("uncaught-error")
            }
        };
        if wants_reply {
            writer.send_value(&reply).await?;
        }
        if closes {
            return Ok(());
        }
    }
}

/// A nanny asks for its plugins and says afterwards how that went.
async fn register_nanny(
    ctx: &Context,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
) -> Result<(), ConnectionError> {
    let _starting = ctx.plugins.nanny_starts();
    let reply = map! {"status" => "OK", "nanny-plugins" => ctx.plugins.for_nannies()};
    writer.send_value(&reply).await?;
    reader.recv().await?;
    Ok(())
}
