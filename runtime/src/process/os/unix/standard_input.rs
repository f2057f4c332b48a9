//! Standard input of a worker process: the socket to its parent, and the empty input that replaces it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::process::os::refusal::{Operation, RefusedOperation};

/// Takes the socket that is standard input, and replaces it by an empty input for the user's code.
pub(crate) fn take_standard_input() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(|error| RefusedOperation::error(Operation::Duplicate, error.into()))?;
    rustix::stdio::dup2_stdin(empty_input(Path::new("/dev/null"))?)?;
    Ok(UnixStream::from(socket))
}

/// An input that is empty: the file of this path, or the read end of a closed pipe if there is no such file, as in a
/// chroot.
fn empty_input(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::File::open(path) {
        Ok(file) => Ok(file.into()),
        Err(_) => {
            io::pipe().map(|(end, _)| end.into()).map_err(|error| RefusedOperation::error(Operation::Duplicate, error))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn standard_input_is_empty_even_without_dev_null() {
        for path in ["/dev/null", "/no/such/file"] {
            let input = empty_input(Path::new(path)).expect("there are descriptors");
            let mut bytes = Vec::new();
            std::fs::File::from(input).read_to_end(&mut bytes).expect("it reads");
            assert!(bytes.is_empty());
        }
    }
}
