//! The loaded program or library that has an address.

use std::mem::MaybeUninit;
use std::ptr;

/// Where the program or library that has this address is loaded; `None` if there is none.
pub(crate) fn module_base(address: usize) -> Option<usize> {
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: `dladdr` compares the address with those of the loaded files and does not read there. It has written to
    // `found` if it returns another number than 0.
    unsafe {
        let is_found = libc::dladdr(ptr::without_provenance(address), found.as_mut_ptr()) != 0;
        is_found.then(|| found.assume_init().dli_fbase.addr())
    }
}
