//! Huge pages for private copies of large blocks.

/// Asks for huge pages for memory that is about to be written, which saves nine of ten page faults. The kernel keeps
/// memory with this advice in a mapping of its own, and a process may have some 65,000 mappings. So the advice is given
/// for whole huge pages only.
#[cfg(target_os = "linux")]
pub(crate) fn advise_huge_pages(start: *mut u8, len: usize) {
    const LARGE_PAGE: usize = 2 << 20;
    let first = start.addr().next_multiple_of(LARGE_PAGE);
    let end = (start.addr() + len) / LARGE_PAGE * LARGE_PAGE;
    if end > first {
        // SAFETY: the range consists of whole pages within the caller's allocation, and this advice changes no
        // contents.
        unsafe { libc::madvise(start.with_addr(first).cast(), end - first, libc::MADV_HUGEPAGE) };
    }
}

/// Other systems choose the sizes of pages themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn advise_huge_pages(_: *mut u8, _: usize) {}
