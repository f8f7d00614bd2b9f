// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The programs that capture, one file for each family of hooks.
#![no_std]
#![no_main]

mod call_exit;
mod process_life;
mod set_state;
mod sock_length;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";
