//! The laws of the bus, each held against the bus in memory and against a real nats-server, without and with TLS.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod laws;
mod nats_alone;
mod world;

use world::{Kind, World};

macro_rules! held_by {
    ($module:ident, $kind:expr, [$($law:ident),+ $(,)?]) => {
        mod $module {
            use super::*;

            $(#[tokio::test]
            async fn $law() {
                if let Some(mut world) = World::new($kind) {
                    laws::$law(&mut world).await;
                }
            })+
        }
    };
}

macro_rules! laws {
    ($($law:ident),+ $(,)?) => {
        held_by!(memory, Kind::Memory, [$($law),+]);
        held_by!(nats, Kind::Nats, [$($law),+]);
        held_by!(nats_with_tls, Kind::NatsTls, [$($law),+]);
    };
}

laws![
    messages_of_one_sender_arrive_in_their_order,
    every_subscription_gets_every_message,
    a_group_gets_each_message_once,
    a_pattern_hears_what_it_covers_and_says_where_it_was_sent,
    a_sender_hears_itself,
    a_question_gets_its_answer,
    a_question_to_nobody_fails_at_once,
    a_question_without_an_answer_fails_at_its_deadline,
    an_answer_that_is_none_is_an_error_of_the_question,
    what_asks_for_no_answer_gets_none,
    a_dropped_subscription_hears_nothing_and_counts_as_nobody,
    a_slow_reader_loses_the_oldest_and_is_told_how_many,
    a_message_too_large_is_refused_and_nothing_else_suffers,
    garbage_is_counted_and_skipped,
    while_there_is_no_server_nothing_is_sent_and_the_reason_is_known,
    subscriptions_come_back_with_the_server,
    a_subscription_made_without_a_server_begins_with_it,
    a_question_ends_with_the_connection,
];
