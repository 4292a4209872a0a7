//! The memory of a BPF array.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use millrace_xsk::{MapError, MappedWords};

use crate::ground::{bpf, stand};

#[test]
fn every_mapping_of_an_array_is_the_same_memory() {
    stand("every_mapping_of_an_array_is_the_same_memory", |_| {
        let array = bpf::array(1000, true);
        let (one, two) =
            (MappedWords::map(array.as_fd(), 1000).unwrap(), MappedWords::map(array.as_fd(), 10).unwrap());
        drop(array);
        assert_eq!((one.len(), two.len()), (1000, 10));
        assert!(one.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        one.words()[9].store(0x0123_4567_89ab_cdef, Ordering::Release);
        assert_eq!(two[9].load(Ordering::Acquire), 0x0123_4567_89ab_cdef);
    });
}

#[test]
fn what_is_no_such_array_is_refused() {
    stand("what_is_no_such_array_is_refused", |_| {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(MappedWords::map(file.as_fd(), 1).unwrap_err(), MapError::NotAMap);
        let array = bpf::array(1000, true);
        for words in [0, usize::MAX, usize::MAX / 8] {
            assert_eq!(MappedWords::map(array.as_fd(), words).unwrap_err(), MapError::Size { words });
        }
        // 1000 words are two pages, of which the kernel maps whole ones.
        assert!(matches!(MappedWords::map(array.as_fd(), 1025), Err(MapError::Mmap { words: 1025, .. })));
        let plain = bpf::array(1000, false);
        assert!(matches!(MappedWords::map(plain.as_fd(), 1000), Err(MapError::Mmap { words: 1000, .. })));
    });
}
