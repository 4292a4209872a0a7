//! The few bpf(2) calls the tests need.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

const MAP_CREATE: u32 = 0;
const MAP_UPDATE_ELEM: u32 = 2;
const PROG_LOAD: u32 = 5;
const LINK_CREATE: u32 = 28;

const TYPE_ARRAY: u32 = 2;
const TYPE_XSKMAP: u32 = 17;
const TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const FLAG_MMAPABLE: u32 = 1 << 10;
const FLAG_DRIVER_MODE: u32 = 1 << 2;

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u64,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u64; 2],
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// An array of u64 values, mappable if so asked.
pub(crate) fn array(entries: u32, mappable: bool) -> OwnedFd {
    let flags = if mappable { FLAG_MMAPABLE } else { 0 };
    map(&MapCreate { map_type: TYPE_ARRAY, key_size: 4, value_size: 8, max_entries: entries, flags })
}

/// Puts `socket` into an XSKMAP of one entry, and on the interface a program that sends queue 0 to it. The program is
/// off when the result is dropped.
pub(crate) fn feed(ifindex: u32, socket: RawFd) -> OwnedFd {
    let xsks =
        map(&MapCreate { map_type: TYPE_XSKMAP, key_size: 4, value_size: 4, max_entries: 1, flags: 0 });
    let (key, value) = (0_u32, socket);
    let update = MapUpdate {
        map: u64::try_from(xsks.as_raw_fd()).unwrap(),
        key: &raw const key as u64,
        value: &raw const value as u64,
        flags: 0,
    };
    bpf(MAP_UPDATE_ELEM, &update);

    let xsks_fd = u64::try_from(xsks.as_raw_fd()).unwrap();
    let code: [u64; 6] = [
        // r2 = ctx->rx_queue_index
        instruction(0x61, 0x12, 16, 0),
        // r1 = the map, in two halves
        instruction(0x18, 0x11, 0, xsks_fd),
        0,
        // r3 = XDP_PASS: the action if the map has no such entry
        instruction(0xb7, 0x03, 0, 2),
        // r0 = bpf_redirect_map(r1, r2, r3)
        instruction(0x85, 0, 0, 51),
        // exit
        instruction(0x95, 0, 0, 0),
    ];
    let license = c"Dual MIT/GPL";
    let program = super::owned(bpf(
        PROG_LOAD,
        &ProgramLoad {
            program_type: TYPE_XDP,
            instructions: 6,
            code: code.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log: [0; 2],
            kernel_version: 0,
            flags: 0,
        },
    ));
    let program = u32::try_from(program.as_raw_fd()).map(|number| (program, number));
    let (_program, number) = program.unwrap();
    let link = LinkCreate { program: number, ifindex, attach_type: ATTACH_XDP, flags: FLAG_DRIVER_MODE };
    super::owned(bpf(LINK_CREATE, &link))
}

/// One instruction: operation, source and destination register, offset, immediate.
fn instruction(operation: u8, registers: u8, offset: u16, immediate: u64) -> u64 {
    u64::from(operation) | u64::from(registers) << 8 | u64::from(offset) << 16 | immediate << 32
}

fn map(create: &MapCreate) -> OwnedFd {
    super::owned(bpf(MAP_CREATE, create))
}

fn bpf<T>(command: u32, attributes: &T) -> i64 {
    // JUSTIFICATION: the tests do without a BPF library.
    // SAFETY: the pointer is to `T`, all of whose bytes are initialised and whose size is given; the kernel takes what
    // is beyond it for zero, and the pointers inside lead to values that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *const T, size_of::<T>()) };
    assert!(result >= 0, "bpf command {command}: {}", std::io::Error::last_os_error());
    result
}
