//! A thread with its connections.

use std::io::{self, Read, Write};
use std::net::TcpStream as Accepted;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::reply::{Counters, Replies};

const WAKER: Token = Token(usize::MAX);
/// Longer than any head or batch of heads that a proxy sends at once.
const READ_BUFFER: usize = 64 * 1024;

/// Where a worker takes its connections from.
#[derive(Debug)]
pub(crate) struct Inbox {
    sender: Sender<Accepted>,
    waker: Waker,
}

impl Inbox {
    /// Gives the worker a connection.
    pub(crate) fn send(&self, stream: Accepted) -> io::Result<()> {
        self.sender
            .send(stream)
            .map_err(|_| io::Error::other("a worker has ended"))?;
        self.waker.wake()
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// The beginning of a request whose rest has not arrived.
    incomplete: Vec<u8>,
    /// Replies that the socket did not take.
    unsent: Vec<u8>,
}

/// Serves its connections with edge-triggered events: one read and one write per request, and no other call.
#[derive(Debug)]
pub(crate) struct Worker {
    poll: Poll,
    inbox: Receiver<Accepted>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    counters: Arc<Counters>,
    replies: Replies,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Worker {
    pub(crate) fn new(counters: Arc<Counters>) -> io::Result<(Self, Inbox)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (sender, inbox) = channel();
        let worker = Self {
            poll,
            inbox,
            connections: Vec::new(),
            free: Vec::new(),
            counters,
            replies: Replies::new(),
            input: vec![0; READ_BUFFER],
            output: Vec::with_capacity(READ_BUFFER),
        };
        Ok((worker, Inbox { sender, waker }))
    }

    /// Serves until the process ends.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(512);
        loop {
            if let Err(problem) = self.poll.poll(&mut events, None) {
                if problem.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                eprintln!("bench-backend: waiting for events: {problem}");
                return;
            }
            for event in &events {
                match event.token() {
                    WAKER => self.take_new(),
                    token => self.serve(token.0, event),
                }
            }
        }
    }

    fn take_new(&mut self) {
        while let Ok(accepted) = self.inbox.try_recv() {
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            match self.register(accepted, place) {
                Ok(connection) => self.connections[place] = Some(connection),
                Err(_) => self.free.push(place),
            }
        }
    }

    fn register(&self, accepted: Accepted, place: usize) -> io::Result<Connection> {
        accepted.set_nonblocking(true)?;
        accepted.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(accepted);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(place), interest)?;
        Ok(Connection {
            stream,
            incomplete: Vec::new(),
            unsent: Vec::new(),
        })
    }

    fn serve(&mut self, place: usize, event: &Event) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        self.output.clear();
        let mut open = connection.flush().is_ok();
        if open && event.is_readable() {
            open = loop {
                let kept = connection.incomplete.len();
                self.input[..kept].copy_from_slice(&connection.incomplete);
                let read = match connection.stream.read(&mut self.input[kept..]) {
                    Ok(0) => break false,
                    Ok(read) => read,
                    Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => break true,
                    Err(_) => break false,
                };
                let input = &self.input[..kept + read];
                match self.replies.answer(input, &mut self.output, &self.counters) {
                    Ok(used) => {
                        connection.incomplete.clear();
                        connection.incomplete.extend_from_slice(&input[used..]);
                    }
                    Err(_) => {
                        self.counters.malformed.fetch_add(1, Ordering::Relaxed);
                        break false;
                    }
                }
                // A short read has emptied the socket. What comes after it, is another event; a close may not be.
                if input.len() < READ_BUFFER && !event.is_read_closed() {
                    break true;
                }
            };
        }
        open &= connection.send(&self.output).is_ok();
        if !open {
            let _ = self.poll.registry().deregister(&mut connection.stream);
            self.connections[place] = None;
            self.free.push(place);
        }
    }
}

impl Connection {
    /// Writes, and keeps what the socket does not take.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.unsent.is_empty() {
            write_some(&mut self.stream, bytes)?
        } else {
            0
        };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Writes what was kept.
    fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = write_some(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }
}

/// Writes until everything is sent or the socket is full; says how much was sent.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => sent += written,
            Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => break,
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(sent)
}
