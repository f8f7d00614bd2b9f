//! Updates to a consistent state. Pure: messages in, a view out at the end of each version.

use std::collections::BTreeMap;

use api::vizier::services::metadata::agent_update::Update;
use api::vizier::services::metadata::{AgentUpdate, AgentUpdatesResponse};
use ids::AgentId;

use super::decode;
use super::schemas::{ToldTable, resolve};
use super::view::{ClusterView, KnownAgent, KnownCollector};

/// Agents of one Vizier. Ten times what is promised; more means that somebody invents them.
pub(crate) const AGENTS_MAX: usize = 10_000;

/// Tables of one Vizier: those of the agents and those of tracepoints.
pub(crate) const TABLES_MAX: usize = 10_000;

/// What one stream of updates has said so far. A stream begins with everything, so a new one begins a new assembly.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    agents: BTreeMap<AgentId, KnownAgent>,
    collectors: BTreeMap<AgentId, Vec<KnownCollector>>,
    told: Vec<ToldTable>,
    /// Of updates and tables that make no sense, and of those that are too many.
    pub(crate) ignored: u64,
}

impl Assembly {
    /// Takes some updates in; a view where they complete a version.
    pub(crate) fn apply(&mut self, response: AgentUpdatesResponse) -> Option<ClusterView> {
        for update in response.agent_updates {
            self.update(update);
        }
        if response.agent_schemas_updated {
            let count = response.agent_schemas.len();
            self.told = response.agent_schemas.into_iter().filter_map(decode::table).take(TABLES_MAX).collect();
            self.ignored += (count - self.told.len()) as u64;
        }
        response.end_of_version.then(|| self.view())
    }

    fn update(&mut self, update: AgentUpdate) {
        let (Some(id), Some(what)) = (decode::agent_id(update.agent_id.as_ref()), update.update) else {
            self.ignored += 1;
            return;
        };
        match what {
            Update::Deleted(_) => {
                self.agents.remove(&id);
                self.collectors.remove(&id);
            }
            Update::Agent(_) | Update::DataInfo(_) if self.agents.len() >= AGENTS_MAX && !self.agents.contains_key(&id) => {
                self.ignored += 1;
            }
            Update::Agent(agent) => {
                self.agents.insert(id, decode::agent(agent));
            }
            Update::DataInfo(info) => {
                // Unset: as before.
                if let Some(states) = info.collectors {
                    self.collectors.insert(id, decode::collectors(states));
                }
            }
        }
    }

    fn view(&mut self) -> ClusterView {
        self.collectors.retain(|id, _| self.agents.contains_key(id));
        let mut agents = self.agents.clone();
        for (id, collectors) in &self.collectors {
            if let Some(agent) = agents.get_mut(id) {
                agent.collectors.clone_from(collectors);
            }
        }
        let tables = resolve(&self.told, |id| self.agents.contains_key(&id));
        ClusterView::new(agents, tables)
    }
}

#[cfg(test)]
mod tests {
    use api::carnot::planner::distributedpb::SchemaInfo;
    use api::table_store::schemapb::{Relation, relation::ColumnInfo};
    use api::uuidpb::Uuid;
    use api::vizier::messages::{AgentDataInfo, CollectorState, CollectorStates};
    use api::vizier::services::shared::agent::{Agent, AgentCapabilities, AgentInfo, HostInfo};

    use super::*;

    fn uuid(number: u64) -> Uuid {
        Uuid { high_bits: 0, low_bits: number }
    }

    fn id(number: u64) -> AgentId {
        AgentId::from_halves(0, number)
    }

    fn agent(number: u64, collects_data: bool) -> AgentUpdate {
        let info = AgentInfo {
            agent_id: Some(uuid(number)),
            capabilities: Some(AgentCapabilities { collects_data }),
            host_info: Some(HostInfo { hostname: format!("node-{number}"), ..Default::default() }),
            query_address: if collects_data { String::new() } else { format!("10.0.0.{number}:51210") },
            ..Default::default()
        };
        let agent = Agent { info: Some(info), asid: number as u32, ..Default::default() };
        AgentUpdate { agent_id: Some(uuid(number)), update: Some(Update::Agent(agent)) }
    }

    fn collectors(number: u64, failed: bool) -> AgentUpdate {
        let state = CollectorState {
            collector: "socket data".to_owned(),
            state: if failed { 3 } else { 1 },
            reason: if failed { "no ring".to_owned() } else { String::new() },
            ..Default::default()
        };
        let info = AgentDataInfo { collectors: Some(CollectorStates { states: vec![state] }), ..Default::default() };
        AgentUpdate { agent_id: Some(uuid(number)), update: Some(Update::DataInfo(info)) }
    }

    fn schema(name: &str, agents: &[u64]) -> SchemaInfo {
        let column = ColumnInfo { column_name: "time_".to_owned(), column_type: 6, column_semantic_type: 2, ..Default::default() };
        let relation = Relation { columns: vec![column], ..Default::default() };
        SchemaInfo { name: name.to_owned(), relation: Some(relation), agent_list: agents.iter().copied().map(uuid).collect() }
    }

    fn part(updates: Vec<AgentUpdate>) -> AgentUpdatesResponse {
        AgentUpdatesResponse { agent_updates: updates, ..Default::default() }
    }

    fn last(updates: Vec<AgentUpdate>) -> AgentUpdatesResponse {
        AgentUpdatesResponse { end_of_version: true, ..part(updates) }
    }

    fn with_schemas(schemas: Vec<SchemaInfo>, response: AgentUpdatesResponse) -> AgentUpdatesResponse {
        AgentUpdatesResponse { agent_schemas: schemas, agent_schemas_updated: true, ..response }
    }

    #[test]
    fn nothing_shows_before_a_version_is_whole() {
        let mut assembly = Assembly::default();
        assert!(assembly.apply(part(vec![agent(1, true)])).is_none());
        let view = assembly.apply(with_schemas(vec![schema("t", &[1])], last(vec![agent(2, false)]))).unwrap();
        assert_eq!(view.collecting().map(|(id, _)| id).collect::<Vec<_>>(), [id(1)]);
        assert_eq!(view.kelvins().map(|(id, kelvin)| (id, kelvin.query_address.as_str())).collect::<Vec<_>>(), [(id(2), "10.0.0.2:51210")]);
        assert_eq!(view.tables.keys().collect::<Vec<_>>(), ["t"]);
    }

    #[test]
    fn collectors_stay_when_the_agent_is_told_again_and_go_with_it() {
        let mut assembly = Assembly::default();
        // In any order within a version.
        let view = assembly.apply(last(vec![collectors(1, true), agent(1, true)])).unwrap();
        assert_eq!(view.agents[&id(1)].collectors[0].detail, "no ring");
        let view = assembly.apply(last(vec![agent(1, true)])).unwrap();
        assert_eq!(view.agents[&id(1)].collectors.len(), 1);
        let gone = AgentUpdate { agent_id: Some(uuid(1)), update: Some(Update::Deleted(true)) };
        assert!(assembly.apply(last(vec![gone])).unwrap().agents.is_empty());
        assert!(assembly.apply(last(vec![agent(1, true)])).unwrap().agents[&id(1)].collectors.is_empty());
    }

    #[test]
    fn schemas_stay_until_others_are_told_and_the_dead_are_left_out() {
        let mut assembly = Assembly::default();
        let first = with_schemas(vec![schema("a", &[1]), schema("b", &[1, 2])], last(vec![agent(1, true), agent(2, true)]));
        assert_eq!(assembly.apply(first).unwrap().tables.len(), 2);
        let gone = AgentUpdate { agent_id: Some(uuid(1)), update: Some(Update::Deleted(true)) };
        let view = assembly.apply(last(vec![gone])).unwrap();
        assert_eq!(view.tables.keys().collect::<Vec<_>>(), ["b"]);
        let asked = view.asked(&["b".to_owned()].into());
        assert_eq!((asked.0, asked.1.len()), (vec![id(2)], 0));
    }

    #[test]
    fn an_agent_that_has_not_told_its_tables_is_asked_and_one_without_the_table_is_not() {
        let mut assembly = Assembly::default();
        let agents = vec![agent(1, true), agent(2, true), agent(3, true), agent(4, false)];
        let view = assembly.apply(with_schemas(vec![schema("a", &[1]), schema("b", &[2])], last(agents))).unwrap();
        assert_eq!(view.asked(&["a".to_owned()].into()).0, [id(1), id(3)]);
        assert!(view.asked(&std::collections::BTreeSet::new()).0.is_empty());
    }

    #[test]
    fn nonsense_is_counted_and_left_out() {
        let mut assembly = Assembly::default();
        let mut strange = schema("x", &[1]);
        strange.relation.as_mut().unwrap().columns[0].column_type = 77;
        let nameless = AgentUpdate { agent_id: None, update: Some(Update::Deleted(true)) };
        let empty = AgentUpdate { agent_id: Some(uuid(1)), update: None };
        let view = assembly.apply(with_schemas(vec![strange], last(vec![nameless, empty, agent(1, true)]))).unwrap();
        assert_eq!((view.agents.len(), view.tables.len(), assembly.ignored), (1, 0, 3));
    }
}
