use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ids::{MonoNs, TracepointId};

use super::types::{Code, Deployment, Failure, Outcome, Report, Stage};

/// How often all that stand are reported again: whoever did not hear it does then.
pub const REPORT_PERIOD: Duration = Duration::from_secs(10);
/// Tracepoints on one agent; further ones fail. Each costs a table.
pub const TRACEPOINTS_MAX: usize = 128;
/// Tracepoints that were taken away, so that a request that was on its way for long does not bring them back.
const REMOVED_MAX: usize = 1_024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagerEvent {
    /// It shall be there.
    Register(TracepointId, Box<Deployment>),
    /// It shall not be there.
    Remove(TracepointId),
    /// The agent's probes say what became of it.
    Changed(TracepointId, Outcome),
    /// Time has passed.
    Tick,
}

/// What has to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagerEffect {
    /// To the agent's probes.
    Deploy(TracepointId, Box<Deployment>),
    /// To the agent's probes.
    Remove(TracepointId),
    /// To the metadata service.
    Report(Report),
}

#[derive(Debug)]
struct Point {
    stage: Stage,
    expires: Option<MonoNs>,
    /// It is to go, and then said to have gone.
    leaving: bool,
}

/// The tracepoints of one agent. Requests may come twice, late and in any order.
#[derive(Debug, Default)]
pub struct Manager {
    points: BTreeMap<TracepointId, Point>,
    removed: VecDeque<TracepointId>,
    reported: MonoNs,
}

impl Manager {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Takes an event.
    pub fn handle(&mut self, event: ManagerEvent, now: MonoNs) -> Vec<ManagerEffect> {
        match event {
            ManagerEvent::Register(id, deployment) => self.register(id, deployment, now),
            ManagerEvent::Remove(id) => self.remove(id),
            ManagerEvent::Changed(id, outcome) => self.changed(id, outcome),
            ManagerEvent::Tick => self.tick(now),
        }
    }

    fn register(&mut self, id: TracepointId, deployment: Box<Deployment>, now: MonoNs) -> Vec<ManagerEffect> {
        let expires = deployment.ttl.map(|ttl| now.plus(ttl));
        if let Some(point) = self.points.get_mut(&id) {
            if !point.leaving {
                point.expires = expires;
            }
            return vec![report(id, point.stage.clone())];
        }
        if self.removed.contains(&id) {
            return vec![report(id, Stage::Terminated)];
        }
        if self.points.len() >= TRACEPOINTS_MAX {
            let text = format!("the agent has {TRACEPOINTS_MAX} tracepoints already");
            return vec![report(id, Stage::Failed(Failure { code: Code::ResourceUnavailable, text }))];
        }
        self.points.insert(id, Point { stage: Stage::Pending, expires, leaving: false });
        vec![report(id, Stage::Pending), ManagerEffect::Deploy(id, deployment)]
    }

    fn remove(&mut self, id: TracepointId) -> Vec<ManagerEffect> {
        if !self.removed.contains(&id) {
            self.removed.push_back(id);
            if self.removed.len() > REMOVED_MAX {
                self.removed.pop_front();
            }
        }
        let Some(point) = self.points.get_mut(&id) else { return vec![report(id, Stage::Terminated)] };
        match point.stage {
            Stage::Pending | Stage::Running if !point.leaving => {
                point.leaving = true;
                vec![ManagerEffect::Remove(id)]
            }
            Stage::Pending | Stage::Running => vec![],
            Stage::Failed(_) | Stage::Terminated => {
                self.points.remove(&id);
                vec![report(id, Stage::Terminated)]
            }
        }
    }

    fn changed(&mut self, id: TracepointId, outcome: Outcome) -> Vec<ManagerEffect> {
        let Some(point) = self.points.get_mut(&id) else { return vec![] };
        match outcome {
            Outcome::Removed => {
                self.points.remove(&id);
                vec![report(id, Stage::Terminated)]
            }
            // It was taken away meanwhile, which is said when it has gone.
            Outcome::Running if point.leaving => vec![],
            Outcome::Running => {
                point.stage = Stage::Running;
                vec![report(id, Stage::Running)]
            }
            Outcome::Failed(_) if point.leaving => {
                self.points.remove(&id);
                vec![report(id, Stage::Terminated)]
            }
            Outcome::Failed(failure) => {
                point.stage = Stage::Failed(failure.clone());
                vec![report(id, Stage::Failed(failure))]
            }
        }
    }

    fn tick(&mut self, now: MonoNs) -> Vec<ManagerEffect> {
        let expired = |point: &Point| !point.leaving && point.expires.is_some_and(|at| at <= now);
        let ids: Vec<TracepointId> = self.points.iter().filter(|(_, point)| expired(point)).map(|(id, _)| *id).collect();
        let mut effects = Vec::new();
        for id in ids {
            let Some(point) = self.points.get_mut(&id) else { continue };
            match point.stage {
                Stage::Pending | Stage::Running => {
                    point.leaving = true;
                    effects.push(ManagerEffect::Remove(id));
                }
                Stage::Failed(_) | Stage::Terminated => {
                    self.points.remove(&id);
                    effects.push(report(id, Stage::Terminated));
                }
            }
        }
        if now.since(self.reported) >= REPORT_PERIOD {
            self.reported = now;
            effects.extend(self.points.iter().filter(|(_, point)| !point.leaving).map(|(id, point)| report(*id, point.stage.clone())));
        }
        effects
    }
}

fn report(id: TracepointId, stage: Stage) -> ManagerEffect {
    ManagerEffect::Report(Report { id, stage })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::tracepoints::Target;

    fn id(number: u8) -> TracepointId {
        TracepointId::from_halves(0, number.into())
    }

    fn deployment(ttl_s: u64) -> Box<Deployment> {
        let ttl = Some(Duration::from_secs(ttl_s));
        Box::new(Deployment { name: "t".to_owned(), ttl, target: Target::None, programs: vec![] })
    }

    fn at(seconds: u64) -> MonoNs {
        MonoNs(0).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_tracepoint_lives_from_its_request_to_the_end_of_its_time() {
        let mut manager = Manager::default();
        let begun = manager.handle(ManagerEvent::Register(id(1), deployment(30)), at(0));
        assert_eq!(begun, [report(id(1), Stage::Pending), ManagerEffect::Deploy(id(1), deployment(30))]);
        assert_eq!(manager.handle(ManagerEvent::Changed(id(1), Outcome::Running), at(1)), [report(id(1), Stage::Running)]);
        let again = manager.handle(ManagerEvent::Register(id(1), deployment(30)), at(20));
        assert_eq!(again, [report(id(1), Stage::Running)], "the same request deploys nothing, and gives it more time");
        assert_eq!(manager.handle(ManagerEvent::Tick, at(31)), [report(id(1), Stage::Running)]);
        assert_eq!(manager.handle(ManagerEvent::Tick, at(50)), [ManagerEffect::Remove(id(1))]);
        assert_eq!(manager.handle(ManagerEvent::Changed(id(1), Outcome::Removed), at(51)), [report(id(1), Stage::Terminated)]);
        assert!(manager.is_empty());
        let anew = manager.handle(ManagerEvent::Register(id(1), deployment(30)), at(60));
        assert_eq!(anew.len(), 2, "more time may be given to one whose time was over");
    }

    #[test]
    fn what_was_taken_away_does_not_come_back_with_a_late_request() {
        let mut manager = Manager::default();
        manager.handle(ManagerEvent::Register(id(1), deployment(30)), at(0));
        assert_eq!(manager.handle(ManagerEvent::Remove(id(1)), at(1)), [ManagerEffect::Remove(id(1))]);
        assert_eq!(manager.handle(ManagerEvent::Remove(id(1)), at(1)), []);
        assert_eq!(manager.handle(ManagerEvent::Changed(id(1), Outcome::Running), at(1)), [], "it began while it was taken away");
        assert_eq!(manager.handle(ManagerEvent::Changed(id(1), Outcome::Removed), at(2)), [report(id(1), Stage::Terminated)]);
        let late = manager.handle(ManagerEvent::Register(id(1), deployment(30)), at(3));
        assert_eq!(late, [report(id(1), Stage::Terminated)]);
        assert_eq!(manager.handle(ManagerEvent::Remove(id(9)), at(3)), [report(id(9), Stage::Terminated)], "nobody ever saw it");
    }

    #[test]
    fn one_too_many_is_told_so() {
        let mut manager = Manager::default();
        for number in 0..TRACEPOINTS_MAX as u8 {
            manager.handle(ManagerEvent::Register(id(number), deployment(30)), at(0));
        }
        let refused = manager.handle(ManagerEvent::Register(id(200), deployment(30)), at(0));
        assert!(matches!(&refused[..], [ManagerEffect::Report(Report { stage: Stage::Failed(_), .. })]), "{refused:?}");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Register(u8, u64),
        Remove(u8),
        Probes(bool),
        Pass(u64),
    }

    proptest! {
        /// Whatever is asked in whatever order: what runs is what the manager means to run, and in the end nothing is left.
        #[test]
        fn probes_and_manager_agree(steps in prop::collection::vec(prop_oneof![
            (0_u8..4, 1_u64..60).prop_map(|(number, ttl)| Step::Register(number, ttl)),
            (0_u8..4).prop_map(Step::Remove),
            any::<bool>().prop_map(Step::Probes),
            (1_u64..30).prop_map(Step::Pass),
        ], 0..60)) {
            let (mut manager, mut running, mut queue, mut now) = (Manager::default(), BTreeSet::new(), VecDeque::new(), 0);
            for step in steps.into_iter().chain([Step::Pass(100), Step::Probes(true)]) {
                let effects = match step {
                    Step::Register(number, ttl) => manager.handle(ManagerEvent::Register(id(number), deployment(ttl)), at(now)),
                    Step::Remove(number) => manager.handle(ManagerEvent::Remove(id(number)), at(now)),
                    Step::Pass(seconds) => {
                        now += seconds;
                        manager.handle(ManagerEvent::Tick, at(now))
                    }
                    // The probes do what they were told, in its order.
                    Step::Probes(works) => {
                        for (id, deploys) in std::mem::take(&mut queue) {
                            let outcome = match (deploys, works) {
                                (true, true) => {
                                    prop_assert!(running.insert(id), "nothing is deployed twice");
                                    Outcome::Running
                                }
                                (true, false) => Outcome::Failed(Failure { code: Code::NotFound, text: String::new() }),
                                (false, _) => {
                                    running.remove(&id);
                                    Outcome::Removed
                                }
                            };
                            manager.handle(ManagerEvent::Changed(id, outcome), at(now));
                        }
                        vec![]
                    }
                };
                for effect in effects {
                    match effect {
                        ManagerEffect::Deploy(id, _) => queue.push_back((id, true)),
                        ManagerEffect::Remove(id) => queue.push_back((id, false)),
                        ManagerEffect::Report(_) => {}
                    }
                }
            }
            prop_assert!(running.is_empty() && manager.is_empty(), "{running:?} {manager:?}");
        }
    }
}
