//! Connections over loopback: handshake, limits, slow consumers, pooled calls.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is the failure of its test"
)]

use std::any::Any;
use std::io::Write;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::Handshake;
use protocol::{
    FrameMemory, FrameRegion, Frames, Limits, Payload, Value, array, decode_message, encode_value,
    frames, map,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transport::{
    CallError, Connection, Connector, EstablishError, Frame, LentFrame, ListenOptions, Listener,
    OutboxError, PlainStream, Pool, Spring, outbox,
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn listener() -> Listener {
    Listener::bind(&ListenOptions::tcp("127.0.0.1", 0))
        .await
        .unwrap()
}

async fn pair() -> (Connection, Connection) {
    let listener = listener().await;
    let connector = Connector::default();
    let address = listener.listen_address();
    let (ours, theirs) = tokio::join!(connector.connect(&address), async {
        listener.accept().await.establish().await
    });
    (ours.unwrap(), theirs.unwrap())
}

/// Answers every request of every connection with what `answer` makes of it.
fn serve(listener: Listener, answer: impl Fn(Value) -> Option<Value> + Clone + Send + 'static) {
    tokio::spawn(async move {
        loop {
            let incoming = listener.accept().await;
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut connection = incoming.establish().await.unwrap();
                while let Ok(Some(request)) = connection.recv_value().await {
                    if let Some(reply) = answer(request) {
                        connection.send_value(&reply).await.unwrap();
                    }
                }
            });
        }
    });
}

#[tokio::test]
async fn without_a_host_both_families_reach_a_listener() {
    let mut loopbacks = vec!["127.0.0.1"];
    match std::net::TcpListener::bind("[::1]:0") {
        Ok(_) => loopbacks.push("[::1]"),
        Err(error) => println!("without IPv6: {error}"),
    }
    let listener = Listener::bind(&ListenOptions::tcp("", 0)).await.unwrap();
    let port = listener.port();
    assert_eq!(listener.listen_address(), format!("tcp://0.0.0.0:{port}"));
    for ip in loopbacks {
        let address = format!("tcp://{ip}:{port}");
        let connector = Connector {
            connect_timeout: PATIENCE,
            ..Connector::default()
        };
        let (ours, theirs) = tokio::join!(connector.connect(&address), async {
            listener.accept().await.establish().await
        });
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(theirs.info.local_address, address);
        assert_eq!(theirs.info.peer_address, ours.info.local_address);
    }
}

#[tokio::test]
async fn messages_pass_in_both_directions() {
    let (mut ours, mut theirs) = pair().await;
    assert_eq!(ours.info.handshake.pickle_protocol, 4);
    assert_eq!(theirs.info.local_address, ours.info.peer_address);
    let big = Value::Serialized(Payload::serialized_pickle(Bytes::from(vec![9; 5 << 20])));
    let message = map! {"op" => "x", "data" => array![big, Value::Nil]};
    let (sent, received) = tokio::join!(ours.send_value(&message), theirs.recv_value());
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap(), message);
    theirs.send_value(&Value::text("OK")).await.unwrap();
    assert_eq!(ours.recv_value().await.unwrap().unwrap(), Value::text("OK"));
    drop(theirs);
    assert!(ours.recv().await.unwrap().is_none());
}

/// Memory that draws from the stream itself, so often at most, and is read to otherwise.
#[derive(Debug)]
struct Drawing {
    at_most: usize,
    drawn: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct DrawingRegion(Vec<u8>, usize, Arc<AtomicUsize>);

impl FrameMemory for Drawing {
    fn allocate(&self, bytes: usize) -> Option<Box<dyn FrameRegion>> {
        let drawn = Arc::clone(&self.drawn);
        Some(Box::new(DrawingRegion(vec![0; bytes], self.at_most, drawn)))
    }
}

impl FrameRegion for DrawingRegion {
    fn part(&mut self, part: Range<usize>) -> &mut [u8] {
        &mut self.0[part]
    }

    fn draw(&mut self, part: Range<usize>, stream: &dyn Any) -> Option<std::io::Result<usize>> {
        let stream = stream.downcast_ref::<PlainStream>()?;
        if self.2.load(Ordering::Relaxed) >= self.1 {
            return None;
        }
        let drawn = stream.try_read(&mut self.0[part]);
        self.2.fetch_add(drawn.is_ok().into(), Ordering::Relaxed);
        Some(drawn)
    }

    fn freeze(self: Box<Self>) -> Bytes {
        self.0.into()
    }
}

#[tokio::test]
async fn memory_may_draw_from_the_stream_and_stop_to_at_any_time() {
    for at_most in [0, 1, 3, usize::MAX] {
        let listener = listener().await;
        let drawn = Arc::new(AtomicUsize::new(0));
        let connector = Connector {
            memory: Some(Arc::new(Drawing {
                at_most,
                drawn: Arc::clone(&drawn),
            })),
            ..Connector::default()
        };
        let address = listener.listen_address();
        let (ours, theirs) = tokio::join!(connector.connect(&address), async {
            listener.accept().await.establish().await
        });
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        let content = |len: usize| Bytes::from((0..len).map(|at| at as u8).collect::<Vec<_>>());
        let frames = [10, 70_000, 5_000_003, 0, 200_000, 3].map(content).to_vec();
        let message = Frames(frames);
        for _ in 0..2 {
            let (sent, received) = tokio::join!(theirs.send(&message), ours.recv());
            sent.unwrap();
            assert_eq!(received.unwrap().unwrap(), message);
        }
        let drawn = drawn.load(Ordering::Relaxed);
        assert!(drawn <= at_most && (drawn > 0) == (at_most > 0));
        theirs
            .writer
            .send(&Frames(vec![content(100)]))
            .await
            .unwrap();
        drop(theirs);
        assert!(ours.recv().await.unwrap().is_some() && ours.recv().await.unwrap().is_none());
    }
}

#[derive(Debug)]
struct Lent(Vec<u8>, bool);

impl LentFrame for Lent {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&self, at: usize, into: &mut [u8]) -> std::io::Result<()> {
        into.copy_from_slice(&self.0[at..at + into.len()]);
        match self.1 {
            true => Ok(()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

#[tokio::test]
async fn frames_that_are_lent_arrive_like_others() {
    let (mut ours, mut theirs) = pair().await;
    let content: Vec<u8> = (0..1_000_003_u32).map(|at| at as u8).collect();
    let small = Bytes::from_static(b"small");
    let message = vec![
        Frame::Here(small.clone()),
        Frame::Lent(Box::new(Lent(content.clone(), true))),
        Frame::Here(Bytes::new()),
        Frame::Here(content.clone().into()),
        Frame::Lent(Box::new(Lent(content[..70_000].to_vec(), true))),
        Frame::Here(small.clone()),
    ];
    let sending = async {
        ours.writer.send_lent(message, None).await.unwrap();
        ours.writer.send(&Frames(vec![small.clone()])).await
    };
    let receiving = async { (theirs.recv().await.unwrap(), theirs.recv().await.unwrap()) };
    let (sent, (first, second)) = tokio::join!(sending, receiving);
    sent.unwrap();
    let whole = Bytes::from(content);
    let part = whole.slice(..70_000);
    let expected = [
        small.clone(),
        whole.clone(),
        Bytes::new(),
        whole,
        part,
        small.clone(),
    ];
    assert_eq!(first.unwrap().0, expected);
    assert_eq!(second.unwrap().0, [small]);
}

#[tokio::test]
async fn a_lent_frame_that_is_gone_breaks_the_connection_and_not_the_message() {
    let (mut ours, mut theirs) = pair().await;
    let message = vec![
        Frame::Here(Bytes::from_static(b"head")),
        Frame::Lent(Box::new(Lent(vec![1; 100_000], false))),
    ];
    assert!(ours.writer.send_lent(message, None).await.is_err());
    drop(ours);
    assert!(theirs.recv().await.is_err());
}

/// Pours this much of the content, then waits for the signal with its end of the pipe open.
fn pourer(
    pipe: OwnedFd,
    content: Vec<u8>,
) -> (JoinHandle<std::io::Result<()>>, std::sync::mpsc::Sender<()>) {
    let (over, waits) = std::sync::mpsc::channel();
    let pouring = std::thread::spawn(move || {
        let mut pipe = std::fs::File::from(pipe);
        let poured = pipe.write_all(&content);
        let _over = waits.recv();
        poured
    });
    (pouring, over)
}

#[tokio::test]
async fn what_is_poured_is_not_read_and_what_is_not_poured_in_time_is() {
    for poured in [0, 100_000, 5_000_000, 5_000_007, 10_000_014] {
        let (mut ours, mut theirs) = pair().await;
        let (mut spring, pipe) = Spring::new().unwrap();
        let (pouring, over) = pourer(pipe, vec![1; poured]);
        let lent = || Frame::Lent(Box::new(Lent(vec![2; 5_000_007], true)));
        let message = vec![Frame::Here(Bytes::from_static(b"head")), lent(), lent()];
        let sending = async { ours.writer.send_lent(message, Some(&mut spring)).await };
        let (sent, received) = tokio::join!(sending, theirs.recv());
        sent.unwrap();
        let frames = received.unwrap().unwrap().0;
        let found = [&frames[1][..], &frames[2][..]].concat();
        assert_eq!(found.len(), 10_000_014);
        // Where it runs dry is a matter of time, that nothing is missing or twice is not.
        let from_pipe = found.iter().take_while(|byte| **byte == 1).count();
        assert!(from_pipe <= poured && found[from_pipe..].iter().all(|byte| *byte == 2));
        assert_eq!(spring.is_dry(), from_pipe < 10_000_014);
        drop((spring, over));
        let _broken_pipe = pouring.join().unwrap();
    }
}

#[tokio::test]
async fn an_end_that_closes_early_leaves_the_rest_to_be_read() {
    let (mut ours, mut theirs) = pair().await;
    let (mut spring, pipe) = Spring::new().unwrap();
    drop(pipe);
    let message = vec![Frame::Lent(Box::new(Lent(vec![2; 3_000_000], true)))];
    let sending = async { ours.writer.send_lent(message, Some(&mut spring)).await };
    let (sent, received) = tokio::join!(sending, theirs.recv());
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap().0, [vec![2; 3_000_000]]);
    assert!(spring.is_dry());
}

#[tokio::test]
async fn whoever_pours_for_a_peer_that_is_gone_is_told_by_the_pipe() {
    let (mut ours, theirs) = pair().await;
    let (mut spring, pipe) = Spring::new().unwrap();
    let (pouring, over) = pourer(pipe, vec![1; 64 << 20]);
    let message = vec![Frame::Lent(Box::new(Lent(vec![2; 64 << 20], true)))];
    let sending = async {
        let sent = ours.writer.send_lent(message, Some(&mut spring)).await;
        drop(spring);
        sent
    };
    let (sent, ()) = tokio::join!(sending, async { drop(theirs) });
    assert!(sent.is_err());
    drop(over);
    assert!(pouring.join().unwrap().is_err());
}

#[tokio::test]
async fn endless_handshake_is_given_up() {
    let options = ListenOptions {
        handshake_timeout: Duration::from_millis(200),
        ..ListenOptions::tcp("127.0.0.1", 0)
    };
    let listener = Listener::bind(&options).await.unwrap();
    let _silent = TcpStream::connect(("127.0.0.1", listener.port()))
        .await
        .unwrap();
    let error = listener.accept().await.establish().await.unwrap_err();
    assert!(matches!(error, EstablishError::Timeout), "{error:?}");
}

#[tokio::test]
async fn oversized_handshake_is_refused_before_it_is_read() {
    let listener = listener().await;
    let mut peer = TcpStream::connect(("127.0.0.1", listener.port()))
        .await
        .unwrap();
    let mut header = Vec::new();
    for word in [16_u64, 1, 1 << 40] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    peer.write_all(&header).await.unwrap();
    let error = listener.accept().await.establish().await.unwrap_err();
    assert!(matches!(error, EstablishError::Read(_)), "{error:?}");
}

#[tokio::test]
async fn wrong_handshake_has_a_name() {
    let listener = listener().await;
    let mut peer = TcpStream::connect(("127.0.0.1", listener.port()))
        .await
        .unwrap();
    let message = encode_value(&map! {"compression" => Value::Nil});
    peer.write_all(&frames::encode(&message.0).concat())
        .await
        .unwrap();
    let error = listener.accept().await.establish().await.unwrap_err();
    assert!(error.to_string().contains("handshake is wrong"), "{error}");
}

#[tokio::test]
async fn declared_length_reserves_nothing() {
    let listener = listener().await;
    let mut peer = TcpStream::connect(("127.0.0.1", listener.port()))
        .await
        .unwrap();
    let mut bytes = frames::encode(&Handshake::ours(Handshake::RELAYED_PICKLES).0).concat();
    for word in [16_u64, 1, 1 << 50] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&[0; 1000]);
    peer.write_all(&bytes).await.unwrap();
    peer.shutdown().await.unwrap();
    let mut connection = listener.accept().await.establish().await.unwrap();
    let error = connection.recv().await.unwrap_err();
    assert!(error.to_string().contains("inside a message"), "{error}");
}

#[tokio::test]
async fn message_beyond_the_limit_is_refused() {
    let limits = Limits {
        max_message_bytes: Some(1000),
        ..Limits::default()
    };
    let options = ListenOptions {
        limits,
        ..ListenOptions::tcp("127.0.0.1", 0)
    };
    let listener = Listener::bind(&options).await.unwrap();
    let connector = Connector::default();
    let address = listener.listen_address();
    let (ours, theirs) = tokio::join!(connector.connect(&address), async {
        listener.accept().await.establish().await
    });
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
    ours.send_value(&Value::Bin(Bytes::from(vec![0; 2000])))
        .await
        .unwrap();
    let error = theirs.recv().await.unwrap_err();
    assert!(error.to_string().contains("no Dask message"), "{error}");
}

#[tokio::test]
async fn consumer_that_never_reads_loses_its_connection_and_stalls_nobody() {
    const BOUND: usize = 4 << 20;
    let (deaf, _never_read) = pair().await;
    let (fine, mut reader) = pair().await;
    let (to_deaf, deaf_driver) = outbox::<Bytes>(deaf.writer, BOUND);
    let (to_fine, fine_driver) = outbox::<Bytes>(fine.writer, BOUND);
    let encode = |batch: Vec<Bytes>| {
        Frames(
            [
                vec![encode_value(&Value::Int(batch.len() as i64)).0[0].clone()],
                batch,
            ]
            .concat(),
        )
    };
    let deaf_end = tokio::spawn(deaf_driver.run(encode));
    tokio::spawn(fine_driver.run(encode));
    let piece = Bytes::from(vec![1; 100_000]);
    let mut pushed = 0;
    while to_deaf.push(piece.clone(), piece.len()).is_ok() {
        assert!(to_deaf.waiting_bytes() <= BOUND);
        to_fine.push(piece.clone(), piece.len()).unwrap();
        let received = tokio::time::timeout(PATIENCE, reader.recv())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(
            decode_message(&Frames(vec![received.0[0].clone()])).unwrap(),
            Value::Int(1)
        );
        pushed += 1;
        assert!(pushed < 10_000, "the bound never took effect");
    }
    let end = tokio::time::timeout(PATIENCE, deaf_end)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(end, Err(OutboxError::SlowConsumer { .. })));
    assert_eq!(to_deaf.waiting_bytes(), to_deaf.waiting_bytes().min(BOUND));
}

#[tokio::test]
async fn items_pushed_while_a_write_is_under_way_share_a_message() {
    let (ours, mut theirs) = pair().await;
    let (out, driver) = outbox::<i64>(ours.writer, 1 << 30);
    for number in 0..1000 {
        out.push(number, 10).unwrap();
    }
    out.close();
    let run = tokio::spawn(
        driver.run(|batch| encode_value(&batch.into_iter().map(Value::from).collect())),
    );
    let all = theirs.recv_value().await.unwrap().unwrap();
    assert_eq!(all, (0..1000).map(Value::from).collect());
    drop(run.await.unwrap().unwrap());
    assert!(out.push(1, 1).is_err());
}

#[tokio::test]
async fn call_reuses_its_connection() {
    let listener = listener().await;
    let address = listener.listen_address();
    serve(listener, Some);
    let pool = Pool::new(Connector::default(), 2);
    for number in 0..5 {
        let request = map! {"op" => "echo", "n" => number};
        assert_eq!(pool.call_value(&address, &request).await.unwrap(), request);
        assert_eq!(pool.idle(), 1);
    }
    pool.remove(&address);
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn concurrent_calls_get_connections_of_their_own_up_to_the_limit() {
    let listener = listener().await;
    let address = listener.listen_address();
    serve(listener, Some);
    let pool = Pool::new(Connector::default(), 3);
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let (pool, address) = (pool.clone(), address.clone());
            tokio::spawn(async move {
                pool.call_value(&address, &Value::Int(number))
                    .await
                    .unwrap()
            })
        })
        .collect();
    for (number, call) in (0..20).zip(calls) {
        assert_eq!(call.await.unwrap(), Value::Int(number));
    }
    assert!(pool.idle() <= 3);
}

#[tokio::test]
async fn cancelled_call_does_not_leave_its_reply_to_the_next() {
    let listener = listener().await;
    let address = listener.listen_address();
    serve(listener, |request| {
        (request.as_i64() != Some(0)).then_some(request)
    });
    let pool = Pool::new(Connector::default(), 2);
    let cancelled = tokio::time::timeout(
        Duration::from_millis(100),
        pool.call_value(&address, &Value::Int(0)),
    )
    .await;
    assert!(cancelled.is_err());
    assert_eq!(pool.idle(), 0);
    assert_eq!(
        pool.call_value(&address, &Value::Int(1)).await.unwrap(),
        Value::Int(1)
    );
}

#[tokio::test]
async fn removal_of_a_peer_ends_its_calls() {
    let listener = listener().await;
    let address = listener.listen_address();
    serve(listener, |_| None);
    let pool = Pool::new(Connector::default(), 2);
    let call = tokio::spawn({
        let (pool, address) = (pool.clone(), address.clone());
        async move { pool.call_value(&address, &Value::Int(0)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    pool.remove(&address);
    let error = tokio::time::timeout(PATIENCE, call)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, CallError::PeerRemoved(_)) && error.is_connection_lost());
}

#[tokio::test]
async fn connection_the_peer_closed_is_not_used_again() {
    let listener = listener().await;
    let address = listener.listen_address();
    tokio::spawn(async move {
        loop {
            let mut connection = listener.accept().await.establish().await.unwrap();
            let request = connection.recv_value().await.unwrap().unwrap();
            connection.send_value(&request).await.unwrap();
        }
    });
    let pool = Pool::new(Connector::default(), 2);
    for number in 0..3 {
        assert_eq!(
            pool.call_value(&address, &Value::Int(number))
                .await
                .unwrap(),
            Value::Int(number)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn only_data_with_status_ok_is_acknowledged() {
    let listener = listener().await;
    let address = listener.listen_address();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    serve(listener, move |request| {
        tell.send(request.clone()).unwrap();
        request.as_map().is_some().then_some(request)
    });
    let pool = Pool::new(Connector::default(), 1);
    for status in ["busy", "OK"] {
        pool.call_then_ack(&address, &encode_value(&map! {"status" => status}))
            .await
            .unwrap();
    }
    assert_eq!(told.recv().await.unwrap(), map! {"status" => "busy"});
    assert_eq!(told.recv().await.unwrap(), map! {"status" => "OK"});
    assert_eq!(told.recv().await.unwrap(), Value::text("OK"));
}

#[tokio::test]
async fn nobody_listening_is_a_timeout_that_says_why() {
    let port = listener().await.port();
    let connector = Connector {
        connect_timeout: Duration::from_millis(300),
        ..Connector::default()
    };
    let error = connector
        .connect(&format!("tcp://127.0.0.1:{port}"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn port_range_takes_the_first_free_port() {
    let taken = listener().await;
    let ports = taken.port()..=taken.port().saturating_add(20);
    let options = ListenOptions {
        ports,
        ..ListenOptions::tcp("127.0.0.1", 0)
    };
    let next = Listener::bind(&options).await.unwrap();
    assert!(next.port() > taken.port());
    let error = Listener::bind(&ListenOptions::tcp("127.0.0.1", taken.port()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("listen on tcp://127.0.0.1"),
        "{error}"
    );
}

#[tokio::test]
async fn garbage_costs_only_its_own_connection() {
    let listener = listener().await;
    let address = listener.listen_address();
    let port = listener.port();
    tokio::spawn(async move {
        loop {
            let incoming = listener.accept().await;
            tokio::spawn(async move {
                let Ok(mut connection) = incoming.establish().await else {
                    return;
                };
                while let Ok(Some(request)) = connection.recv_value().await {
                    connection.send_value(&request).await.unwrap();
                }
            });
        }
    });
    let pool = Pool::new(Connector::default(), 2);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0; 64]] {
        let mut peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        peer.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let _end = tokio::time::timeout(PATIENCE, peer.read_to_end(&mut answer))
            .await
            .unwrap();
        assert_eq!(
            pool.call_value(&address, &Value::Int(7)).await.unwrap(),
            Value::Int(7)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_waits_for_a_connection_that_has_become_idle_meanwhile() {
    const ROUNDS: u32 = 20_000;
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let listener = listener().await;
        addresses.push(listener.listen_address());
        serve(listener, Some);
    }
    let pool = Pool::new(Connector::default(), 1);
    for round in 0..ROUNDS {
        // One call gives its connection back just when the other begins, or about then.
        let calls = [0, round % 400].into_iter().zip(&addresses);
        let calls = calls.map(|(spins, address)| {
            let (pool, address) = (pool.clone(), address.clone());
            tokio::spawn(async move {
                (0..spins * 20).for_each(|_| std::hint::spin_loop());
                let call = pool.call_value(&address, &Value::Nil);
                tokio::time::timeout(PATIENCE, call).await
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let reply = call.await.unwrap().expect("a slot becomes free");
            assert_eq!(reply.unwrap(), Value::Nil);
        }
    }
}
