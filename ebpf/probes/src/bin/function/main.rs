// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Calls of probed functions: a slot for each probe, with a program for the entry and one for the return.
#![no_std]
#![no_main]

mod call;
mod slots;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";
