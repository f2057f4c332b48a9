//! The build id: a hash of the program's file, equal only where all parts of a cluster run the same program.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

/// The bytes of a program's file that may have its notes.
const NOTES_WITHIN: usize = 1 << 16;
/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;

/// The hash of this program's file. A program whose file cannot be read has the hash of its version.
pub(crate) fn build_id() -> u64 {
    static ID: OnceLock<u64> = OnceLock::new();
    *ID.get_or_init(|| of_program().unwrap_or_else(|| mix(0, env!("CARGO_PKG_VERSION").as_bytes())))
}

/// A build id as messages show it.
pub(crate) fn shown(id: u64) -> String {
    format!("{:012x}", id >> 16)
}

fn of_program() -> Option<u64> {
    // On Linux the link leads to the file that runs, even if another one has taken its name.
    let path = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe().ok()? };
    let mut file = File::open(path).ok()?;
    let mut head = Vec::new();
    file.by_ref().take(BLOCK as u64).read_to_end(&mut head).ok()?;
    match note(&head) {
        Some(note) => Some(mix(0, note)),
        None => hash(file, mix(0, &head)),
    }
}

/// The hash of the whole file that the linker has put into a note near its beginning, as the linkers of most systems
/// do.
fn note(head: &[u8]) -> Option<&[u8]> {
    /// The length of the name, that of the hash, the type `NT_GNU_BUILD_ID`, and the name.
    const HEADER: [u8; 16] = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0];
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    // A program's notes are in its first page or soon after, and nothing else looks like this one.
    let start = head.windows(HEADER.len()).take(NOTES_WITHIN).position(|bytes| bytes == HEADER)? + HEADER.len();
    head.get(start..start + 20)
}

/// Mixes the rest of a file into the hash.
fn hash(mut file: File, mut hash: u64) -> Option<u64> {
    let mut block = Vec::new();
    loop {
        block.clear();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut block).ok()?;
        if block.is_empty() {
            return Some(hash);
        }
        hash = mix(hash, &block);
    }
}

/// Mixes bytes into a hash, eight at a time. It finds different builds; it does not withstand an attacker.
fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let lengths = [last, (bytes.len() as u64).to_le_bytes()];
    for word in words.iter().chain(&lengths) {
        hash = (hash.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_hash_is_found() {
        let mut head = b"\x7fELF".to_vec();
        head.extend([9; 100]);
        assert_eq!(note(&head), None);
        head.extend([4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0]);
        head.extend([7; 20]);
        assert_eq!(note(&head), Some(&[7; 20][..]));
        assert_eq!(note(&head[..head.len() - 1]), None);
    }

    #[test]
    fn the_hash_depends_on_every_byte_and_the_length() {
        let bytes = [7; 21];
        for position in 0..bytes.len() {
            let mut other = bytes;
            other[position] ^= 1;
            assert_ne!(mix(0, &bytes), mix(0, &other), "{position}");
        }
        assert_ne!(mix(0, &[0; 3]), mix(0, &[0; 4]));
        assert_eq!(build_id(), build_id());
    }
}
