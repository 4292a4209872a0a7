//! Asking the cache for a line before it is needed.

/// Fetches the line of `target`, or does nothing where the architecture has no stable way to say so.
#[inline(always)]
pub fn prefetch<T>(target: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // JUSTIFICATION: without it every packet waits for its own table lines, one after the other.
        // SAFETY: a prefetch reads nothing as far as the program can tell and never faults; SSE is part of x86-64.
        #[expect(unsafe_code, reason = "the intrinsic takes a raw pointer")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(target).cast());
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = target;
}
