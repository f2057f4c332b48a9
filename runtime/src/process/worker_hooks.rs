//! The hooks that run inside of worker processes, and how a parent names a function of the program to its worker.
//!
//! Both run the same file, which the handshake has compared, but it is loaded at a random address in each. So a hook is
//! sent as the distance of its code from the start of the program.

use std::io;
use std::ops::Range;

/// The functions that a worker process runs first and last, by their [`offset_of`]; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerHooks {
    pub(crate) start: u64,
    pub(crate) stop: u64,
}

/// The program in this process' memory.
struct Program {
    start: usize,
    code: Vec<Range<usize>>,
}

impl Program {
    fn read() -> io::Result<Self> {
        let file = std::fs::read_link("/proc/self/exe")?;
        let maps = std::fs::read("/proc/self/maps")?;
        Self::parse(&String::from_utf8_lossy(&maps), &file.to_string_lossy())
            .ok_or_else(|| io::Error::other("/proc/self/maps does not list the program's file"))
    }

    /// Reads lines such as `5581c000-5581d000 r-xp 00001000 08:01 1234     /the/program`.
    fn parse(maps: &str, file: &str) -> Option<Self> {
        let mut program: Option<Self> = None;
        for line in maps.lines() {
            let mut fields = line.splitn(6, ' ');
            let (Some(range), Some(rights), Some(path)) = (fields.next(), fields.next(), fields.nth(3)) else {
                continue;
            };
            if path.trim_start() != file {
                continue;
            }
            let (start, end) = range.split_once('-')?;
            let address = |text| usize::from_str_radix(text, 16).ok();
            let (start, end) = (address(start)?, address(end)?);
            let program = program.get_or_insert_with(|| Self { start, code: Vec::new() });
            if rights.contains('x') {
                program.code.push(start..end);
            }
        }
        program
    }

    fn has_code_at(&self, address: usize) -> bool {
        self.code.iter().any(|range| range.contains(&address))
    }
}

/// The distance of a function from the start of the program; 0 for none.
///
/// # Errors
///
/// If the function is not in the program's own file but in a shared library.
pub(crate) fn offset_of(hook: Option<fn()>) -> io::Result<u64> {
    let Some(hook) = hook else { return Ok(0) };
    let (program, address) = (Program::read()?, hook as usize);
    if !program.has_code_at(address) {
        return Err(io::Error::other("a hook for worker processes is in a shared library: define it in the program"));
    }
    Ok((address - program.start) as u64)
}

/// Worker: the function at that distance; `None` for 0.
///
/// # Errors
///
/// If there is no code of the program.
pub(super) fn at_offset(offset: u64) -> io::Result<Option<fn()>> {
    if offset == 0 {
        return Ok(None);
    }
    let program = Program::read()?;
    let address = usize::try_from(offset).ok().and_then(|offset| program.start.checked_add(offset));
    let Some(address) = address.filter(|address| program.has_code_at(*address)) else {
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
        at_offset(u64::MAX).expect_err("no code");
        at_offset(1).expect_err("the file's header");
    }

    #[test]
    fn maps_are_parsed() {
        let maps = "55d0-55d1 r--p 00000000 08:01 7                 /a b\n55d1-55e0 r-xp 00001000 08:01 7     /a b\n\
                    7f00-7f01 r-xp 00000000 08:01 8                 /lib\n7f02-7f03 rw-p 00000000 00:00 0\n";
        let program = Program::parse(maps, "/a b").expect("it is listed");
        assert_eq!(program.start, 0x55d0);
        assert!(matches!(&program.code[..], [code] if *code == (0x55d1..0x55e0)));
        assert!(Program::parse(maps, "/c").is_none());
    }
}
