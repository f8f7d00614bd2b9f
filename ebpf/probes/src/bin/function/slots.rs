// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The programs: the same two for each slot. A slot's number is in its programs, since kernels before 5.15 have no cookies to tell it.

use aya_ebpf::{
    EbpfContext as _,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use crate::call;

macro_rules! slots {
    ($($number:literal $enter:ident $leave:ident),* $(,)?) => {
        $(
            #[uprobe]
            pub fn $enter(context: ProbeContext) -> u32 {
                // SAFETY: the program's context.
                unsafe { call::enter(context.as_ptr().cast(), $number) };
                0
            }

            #[uretprobe]
            pub fn $leave(context: RetProbeContext) -> u32 {
                // SAFETY: the program's context.
                unsafe { call::leave(context.as_ptr().cast(), $number) };
                0
            }
        )*

        const _: () = assert!([$($number),*].len() == ebpf_abi::limit::PROBES_MAX as usize);
    };
}

slots! {
    0 enter_0 leave_0, 1 enter_1 leave_1, 2 enter_2 leave_2, 3 enter_3 leave_3,
    4 enter_4 leave_4, 5 enter_5 leave_5, 6 enter_6 leave_6, 7 enter_7 leave_7,
    8 enter_8 leave_8, 9 enter_9 leave_9, 10 enter_10 leave_10, 11 enter_11 leave_11,
    12 enter_12 leave_12, 13 enter_13 leave_13, 14 enter_14 leave_14, 15 enter_15 leave_15,
    16 enter_16 leave_16, 17 enter_17 leave_17, 18 enter_18 leave_18, 19 enter_19 leave_19,
    20 enter_20 leave_20, 21 enter_21 leave_21, 22 enter_22 leave_22, 23 enter_23 leave_23,
    24 enter_24 leave_24, 25 enter_25 leave_25, 26 enter_26 leave_26, 27 enter_27 leave_27,
    28 enter_28 leave_28, 29 enter_29 leave_29, 30 enter_30 leave_30, 31 enter_31 leave_31,
    32 enter_32 leave_32, 33 enter_33 leave_33, 34 enter_34 leave_34, 35 enter_35 leave_35,
    36 enter_36 leave_36, 37 enter_37 leave_37, 38 enter_38 leave_38, 39 enter_39 leave_39,
    40 enter_40 leave_40, 41 enter_41 leave_41, 42 enter_42 leave_42, 43 enter_43 leave_43,
    44 enter_44 leave_44, 45 enter_45 leave_45, 46 enter_46 leave_46, 47 enter_47 leave_47,
    48 enter_48 leave_48, 49 enter_49 leave_49, 50 enter_50 leave_50, 51 enter_51 leave_51,
    52 enter_52 leave_52, 53 enter_53 leave_53, 54 enter_54 leave_54, 55 enter_55 leave_55,
    56 enter_56 leave_56, 57 enter_57 leave_57, 58 enter_58 leave_58, 59 enter_59 leave_59,
    60 enter_60 leave_60, 61 enter_61 leave_61, 62 enter_62 leave_62, 63 enter_63 leave_63,
}
