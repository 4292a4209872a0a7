//! AF_XDP behind a safe API: one shared UMEM, owned frames, sockets, and memory-mapped BPF arrays.
