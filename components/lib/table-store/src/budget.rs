use tables::Table;

use crate::{Error, Limits};

const MIB: u64 = 1024 * 1024;

/// How many bytes the tables may hold. Defaults: reference `tables.md` §5, the original's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// All tables that are there from the start, together.
    pub total_bytes: u64,
    /// Share of http_events in the total: the table people ask most, with the widest rows.
    pub http_events_percent: u8,
    /// stirling_error and probe_status, each: a row per collector and change of state.
    pub status_table_bytes: u64,
    /// proc_exit_events: narrow rows.
    pub proc_exit_events_bytes: u64,
    /// Each table made later, beside the total: what a tracepoint can collect before its oldest rows go.
    pub later_table_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            total_bytes: 1280 * MIB,
            http_events_percent: 40,
            status_table_bytes: MIB,
            proc_exit_events_bytes: 10 * MIB,
            later_table_bytes: 64 * MIB,
        }
    }
}

impl Budget {
    /// Each table's limits. Tables the budget does not name share the rest equally.
    ///
    /// # Errors
    /// If the named parts leave nothing to share, or a percentage is above 100.
    pub fn split<'a>(&self, tables: &[&'a Table]) -> Result<Vec<(&'a Table, Limits)>, Error> {
        if self.http_events_percent > 100 {
            return Err(Error::Percent { percent: self.http_events_percent });
        }
        let named: Vec<_> = tables.iter().map(|t| (*t, self.named_bytes(t.name))).collect();
        let fixed_bytes = named.iter().filter_map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
        let sharing = named.iter().filter(|(_, bytes)| bytes.is_none()).count();
        let rest = self.total_bytes.checked_sub(fixed_bytes);
        let share = match sharing {
            0 => rest.map(|_| 0),
            n => rest.map(|rest| rest / n as u64).filter(|share| *share > 0),
        };
        let too_small = Error::BudgetTooSmall { total_bytes: self.total_bytes, fixed_bytes, sharing };
        let share = share.ok_or(too_small)?;
        Ok(named.into_iter().map(|(t, bytes)| (t, Limits::new(bytes.unwrap_or(share)))).collect())
    }

    fn named_bytes(&self, table: &str) -> Option<u64> {
        match table {
            "http_events" => Some(percent_of(self.total_bytes, self.http_events_percent)),
            "stirling_error" | "probe_status" => Some(self.status_table_bytes),
            "proc_exit_events" => Some(self.proc_exit_events_bytes),
            _ => None,
        }
    }
}

/// Rounded down, without overflow.
fn percent_of(bytes: u64, percent: u8) -> u64 {
    let percent = u64::from(percent);
    bytes / 100 * percent + bytes % 100 * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(budget: Budget) -> Result<Vec<(&'static str, u64)>, String> {
        let split = budget.split(tables::all()).map_err(|e| e.to_string())?;
        Ok(split.into_iter().map(|(t, limits)| (t.name, limits.bytes_max)).collect())
    }

    #[test]
    fn the_default_budget_is_spent_to_the_last_byte() {
        let split = split(Budget::default()).unwrap();
        assert_eq!(split.iter().find(|(t, _)| *t == "http_events").unwrap().1 / MIB, 512);
        assert_eq!(split.iter().find(|(t, _)| *t == "stirling_error").unwrap().1, MIB);
        let sum: u64 = split.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(sum, 1280 * MIB);
    }

    #[test]
    fn a_budget_that_does_not_add_up_says_so() {
        let small = Budget { total_bytes: 15 * MIB, ..Budget::default() };
        assert_eq!(
            split(small).unwrap_err(),
            "the table budget of 15728640 bytes does not add up: 18874368 bytes are set aside by name and leave nothing for 1 other tables"
        );
        assert!(split(Budget { http_events_percent: 101, ..Budget::default() }).unwrap_err().contains("101 %"));
    }
}
