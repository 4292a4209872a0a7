#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| millrace_control_fuzz::policy(octets));
