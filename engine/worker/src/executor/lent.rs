//! Memory of the executor that it lends: large frames of live values, read where they are only when they are sent or written.
//!
//! Nothing is copied for it and no GIL is taken. Invariant: what is read is there: the executor keeps it until it hears that
//! the loan is over, which is when the last reader is gone.

use bytes::Bytes;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use transport::{Frame, LentFrame};

/// Where something lies in the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub address: u64,
    pub len: u64,
}

/// A frame of a value of the executor.
#[derive(Clone, Debug)]
pub enum Piece {
    Here(Bytes),
    Lent { process: i32, place: Place },
}

impl Piece {
    pub fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Lent { place, .. } => place.len as usize,
        }
    }

    /// Fills `into` with what lies at this offset.
    pub fn read(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Here(bytes) => into.copy_from_slice(&bytes[at..at + into.len()]),
            Self::Lent { process, place } => read(*process, place.address + at as u64, into)?,
        }
        Ok(())
    }
}

/// What the executor has lent for one request; tells when it is dropped.
pub struct Loan {
    over: Cell<Option<Box<dyn FnOnce()>>>,
}

impl Loan {
    pub fn new(over: impl FnOnce() + 'static) -> Rc<Self> {
        Rc::new(Self {
            over: Cell::new(Some(Box::new(over))),
        })
    }

    /// It is never over: nobody will know whether it is still read.
    fn keep_for_good(&self) {
        drop(self.over.take());
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(over) = self.over.take() {
            over();
        }
    }
}

/// A loan until the peer has said that it has everything. What was poured lies in the connection as pages of the executor:
/// whoever reads it finds what is in them then. Where this is dropped before, because the life of the worker ends, the
/// executor is never told that the loan is over.
pub struct Unacknowledged(Option<Rc<Loan>>);

impl Unacknowledged {
    pub fn new(loan: Option<Rc<Loan>>) -> Self {
        Self(loan)
    }

    /// The peer has it, or will not read it any more.
    pub fn settled(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Unacknowledged {
    fn drop(&mut self) {
        if let Some(loan) = &self.0 {
            loan.keep_for_good();
        }
    }
}

/// A piece with the loan that keeps it there.
struct OnLoan {
    piece: Piece,
    _loan: Option<Rc<Loan>>,
}

impl std::fmt::Debug for OnLoan {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.piece.fmt(out)
    }
}

impl LentFrame for OnLoan {
    fn len(&self) -> usize {
        self.piece.len()
    }

    fn read(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        self.piece.read(at, into)
    }
}

/// As a connection sends it.
pub fn frame(piece: Piece, loan: Option<&Rc<Loan>>) -> Frame {
    match piece {
        Piece::Here(bytes) => Frame::Here(bytes),
        Piece::Lent { .. } => Frame::Lent(Box::new(OnLoan {
            piece,
            _loan: loan.cloned(),
        })),
    }
}

/// Whether memory of this process can be read, and is the one that was meant: containers and kernels differ in what they allow.
pub fn may_read(process: i32, address: u64, content: &[u8]) -> bool {
    let mut found = vec![0; content.len()];
    !content.is_empty() && read(process, address, &mut found).is_ok() && found == content
}

fn read(process: i32, address: u64, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        let rest = &mut into[done..];
        let local = libc::iovec {
            iov_base: rest.as_mut_ptr().cast(),
            iov_len: rest.len(),
        };
        let remote = libc::iovec {
            iov_base: (address as usize + done) as *mut libc::c_void,
            iov_len: rest.len(),
        };
        // SAFETY: the kernel writes to `rest` only; what it reads is another process's, and it says so if it is not there.
        let count = unsafe { libc::process_vm_readv(process, &local, 1, &remote, 1, 0) };
        match usize::try_from(count) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loan_that_nobody_acknowledged_is_never_over() {
        let over = Rc::new(Cell::new(0));
        let loan = || {
            let over = Rc::clone(&over);
            Some(Loan::new(move || over.set(over.get() + 1)))
        };
        Unacknowledged::new(loan()).settled();
        assert_eq!(over.get(), 1);
        drop(Unacknowledged::new(loan()));
        assert_eq!(over.get(), 1);
    }

    #[test]
    fn what_lies_in_a_process_is_read_and_what_does_not_is_an_error() {
        let own = std::process::id() as i32;
        let content: Vec<u8> = (0..=255).collect();
        let address = content.as_ptr() as u64;
        assert!(may_read(own, address, &content));
        assert!(!may_read(own, address, b"something else"));
        assert!(!may_read(own, 64, b"nothing is there"));
        let place = Place { address, len: 256 };
        let piece = Piece::Lent {
            process: own,
            place,
        };
        let mut part = [0; 3];
        piece.read(100, &mut part).unwrap();
        assert_eq!(part, [100, 101, 102]);
        let mut whole = [0; 256];
        piece.read(0, &mut whole).unwrap();
        assert_eq!(whole.as_slice(), content);
    }
}
