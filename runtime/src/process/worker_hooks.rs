//! The hooks that run inside of worker processes, and how a parent names a function of the program to its worker.
//!
//! Both run the same file, which the handshake has compared, but it is loaded at a random address in each. So a hook is
//! sent as the distance of its code from the start of the program.

use std::io;

use super::os;

/// The functions that a worker process runs first and last, by their [`offset_of`]; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerHooks {
    pub(crate) start: u64,
    pub(crate) stop: u64,
}

/// Where the program is loaded in this process: the file that has this function.
fn program_base() -> io::Result<usize> {
    let base = os::module_base(program_base as *const () as usize);
    base.ok_or_else(|| io::Error::other("the system does not say where the program is loaded"))
}

/// The distance of a function from the start of the program; 0 for none.
///
/// # Errors
///
/// If the function is not in the program's own file but in a shared library, whose distance differs in each process.
pub(crate) fn offset_of(hook: Option<fn()>) -> io::Result<u64> {
    let Some(hook) = hook else { return Ok(0) };
    let (base, address) = (program_base()?, hook as usize);
    if os::module_base(address) != Some(base) {
        return Err(io::Error::other("a hook for worker processes is in a shared library: define it in the program"));
    }
    Ok((address - base) as u64)
}

/// Worker: the function at that distance; `None` for 0.
///
/// # Errors
///
/// If it would not be in the program.
pub(super) fn at_offset(offset: u64) -> io::Result<Option<fn()>> {
    if offset == 0 {
        return Ok(None);
    }
    let base = program_base()?;
    let address = usize::try_from(offset).ok().and_then(|offset| base.checked_add(offset));
    let Some(address) = address.filter(|address| os::module_base(*address) == Some(base)) else {
        return Err(io::Error::other("its pool's hook is not in the program"));
    };
    // SAFETY: the parent runs the same build of the same file, which the handshake has compared before. There the
    // distance was that of a `fn()` in the file's code (`offset_of`), so it is that of the same function here.
    Ok(Some(unsafe { std::mem::transmute::<*const (), fn()>(std::ptr::with_exposed_provenance(address)) }))
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_function_is_found_by_its_offset() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let hook: fn() = || {
            CALLS.fetch_add(1, Ordering::Relaxed);
        };
        let offset = offset_of(Some(hook)).expect("it is in the test program");
        let found = at_offset(offset).expect("it is code").expect("a function");
        found();
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        assert_eq!(offset_of(None).expect("none"), 0);
        assert!(at_offset(0).expect("none").is_none());
        at_offset(u64::MAX).expect_err("it is in no program");
    }

    #[test]
    fn a_function_of_a_library_is_refused() {
        // SAFETY: both are functions of the C ABI without arguments; this one is never called. Sanitizers do not
        // replace it by one of the program.
        let library = unsafe { std::mem::transmute::<*const (), fn()>(libc::getppid as *const ()) };
        offset_of(Some(library)).expect_err("it is in the C library");
    }
}
