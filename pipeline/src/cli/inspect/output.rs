//! Standard output that remembers why it took no more: whoever writes a file's rows into it may tell that as a fault of the
//! file.

use std::io::{self, ErrorKind, Write};

pub(super) struct Output<W> {
    to: W,
    refused: Option<io::Error>,
}

impl<W: Write> Output<W> {
    pub fn new(to: W) -> Self {
        Self { to, refused: None }
    }

    /// Why it took no more, if it did not.
    pub fn refused(&mut self) -> Option<io::Error> {
        self.refused.take()
    }

    fn keep<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done
            && error.kind() != ErrorKind::Interrupted
        {
            self.refused = Some(error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error));
        }
        done
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.to.write(bytes);
        self.keep(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.to.flush();
        self.keep(done)
    }
}
