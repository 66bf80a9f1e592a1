//! Mistakes on purpose, which a sanitizer must report: `.ci/run sanitizers` fails when it does not. Ignored otherwise.
#![allow(unsafe_code, reason = "what is wrong on purpose cannot be written without")]

use std::cell::UnsafeCell;

struct Shared(UnsafeCell<u64>);

// SAFETY: none. That is the mistake.
unsafe impl Sync for Shared {}

#[test]
#[ignore = "a mistake on purpose, for ThreadSanitizer"]
fn two_threads_write_one_place() {
    let shared = Shared(UnsafeCell::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let shared = &shared;
            scope.spawn(move || {
                for _ in 0..20 {
                    // SAFETY: none.
                    unsafe { *shared.0.get() += 1 };
                    // Sleeping orders nothing, and both threads live while either is caught.
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            });
        }
    });
    println!("{}", shared.0.into_inner());
}

#[test]
#[ignore = "a mistake on purpose, for AddressSanitizer"]
fn what_was_freed_is_read() {
    let freed = {
        let bytes: Box<[u8]> = Box::from([7_u8; 64]);
        std::hint::black_box(bytes.as_ptr())
    };
    // SAFETY: none.
    println!("{}", unsafe { std::ptr::read_volatile(freed) });
}
