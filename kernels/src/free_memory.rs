//! Memory that the allocator keeps for later although nothing is in it.

/// Gives it back to the system, as far as the allocator can (glibc; elsewhere nothing happens). What is in use stays as it is.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: the allocator gives up pages in which nothing is allocated, under locks of its own.
        #[expect(unsafe_code, reason = "the allocator is asked in no other way")]
        let _whether_any = unsafe { libc::malloc_trim(0) };
    }
}
