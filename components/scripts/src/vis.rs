use serde::Deserialize;

/// A `vis.json`, as far as running a script needs it. Reference: cli-ui.md §1.4.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Vis {
    /// Arguments of the script.
    pub variables: Vec<Variable>,
    /// Functions to call, whose results have names.
    pub global_funcs: Vec<GlobalFunc>,
    widgets: Vec<Widget>,
}

/// An argument of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Variable {
    /// As it is given: `--name value`.
    pub name: String,
    /// `PX_STRING`, `PX_INT64`, ….
    #[serde(rename = "type")]
    pub px_type: String,
    /// Where none is given. None: one must be given.
    pub default_value: Option<String>,
    /// What it means.
    pub description: String,
    /// If not empty, the values it may have.
    pub valid_values: Vec<String>,
}

/// A function to call and the name of what it returns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GlobalFunc {
    /// Name of the output.
    pub output_name: String,
    func: Func,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Func {
    name: String,
    args: Vec<FuncArg>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct FuncArg {
    name: String,
    value: Option<String>,
    variable: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Widget {
    name: String,
    func: Option<Func>,
}

/// One function of a script to call: what `ExecuteScriptRequest.exec_funcs` carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which function.
    pub func: String,
    /// Names and values.
    pub args: Vec<(String, String)>,
    /// Name of the output.
    pub output: String,
}

/// What is wrong with a `vis.json`, or with the arguments given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not the JSON it should be.
    #[error("vis.json is not valid")]
    Json(#[source] serde_json::Error),
    /// An argument that the script does not have.
    #[error("the script has no argument `{name}`; it has: {known}")]
    UnknownArgument {
        /// Which.
        name: String,
        /// Those it has.
        known: String,
    },
    /// An argument without default was not given.
    #[error("missing required argument `{name}`")]
    MissingArgument {
        /// Which.
        name: String,
    },
    /// A value that the argument may not have.
    #[error("`{value}` is not a valid value of `{name}`; valid are: {valid}")]
    InvalidValue {
        /// Which argument.
        name: String,
        /// What was given.
        value: String,
        /// What it may be.
        valid: String,
    },
}

impl Vis {
    /// From the text of a `vis.json`.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn parse(json: &str) -> Result<Vis, Error> {
        serde_json::from_str(json).map_err(Error::Json)
    }

    /// The calls that run the script with these arguments: every global function, then every widget with a function of its own.
    ///
    /// # Errors
    /// If an argument is unknown, missing or not valid.
    pub fn calls(&self, given: &[(String, String)]) -> Result<Vec<Call>, Error> {
        for (name, _) in given {
            if !self.variables.iter().any(|variable| variable.name == *name) {
                let known = self.variables.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Error::UnknownArgument { name: name.clone(), known });
            }
        }
        let global = self.global_funcs.iter().map(|global| (&global.func, global.output_name.clone()));
        let widget = self.widgets.iter().filter_map(|widget| {
            let name = if widget.name.is_empty() { "widget" } else { &widget.name };
            widget.func.as_ref().map(|func| (func, name.to_owned()))
        });
        global.chain(widget).map(|(func, output)| self.call(func, output, given)).collect()
    }

    fn call(&self, func: &Func, output: String, given: &[(String, String)]) -> Result<Call, Error> {
        let arg = |arg: &FuncArg| {
            let value = match (&arg.value, &arg.variable) {
                (Some(value), _) => value.clone(),
                (None, Some(variable)) => self.value(variable, given)?,
                (None, None) => return Err(Error::MissingArgument { name: arg.name.clone() }),
            };
            Ok((arg.name.clone(), value))
        };
        Ok(Call { func: func.name.clone(), args: func.args.iter().map(arg).collect::<Result<_, _>>()?, output })
    }

    fn value(&self, name: &str, given: &[(String, String)]) -> Result<String, Error> {
        let variable = self.variables.iter().find(|variable| variable.name == name);
        // The last one counts, as with any command line.
        let value = given.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        let value = value.or_else(|| variable.and_then(|variable| variable.default_value.clone()));
        let value = value.ok_or_else(|| Error::MissingArgument { name: name.to_owned() })?;
        match variable {
            Some(variable) if !variable.valid_values.is_empty() && !variable.valid_values.contains(&value) => {
                Err(Error::InvalidValue { name: name.to_owned(), value, valid: variable.valid_values.join(", ") })
            }
            _ => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIS: &str = r#"{
        "variables": [
            {"name": "start_time", "type": "PX_STRING", "defaultValue": "-5m"},
            {"name": "ip", "type": "PX_STRING"},
            {"name": "side", "type": "PX_STRING", "defaultValue": "both", "validValues": ["both", "client"]}
        ],
        "globalFuncs": [{"outputName": "t", "func": {"name": "f", "args": [
            {"name": "start", "variable": "start_time"}, {"name": "n", "value": "3"}, {"name": "ip", "variable": "ip"}]}}],
        "widgets": [
            {"globalFuncOutputName": "t", "displaySpec": {"@type": "types.px.dev/px.vispb.Table"}},
            {"name": "w", "func": {"name": "g", "args": [{"name": "side", "variable": "side"}]}}
        ]
    }"#;

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn calls_take_what_is_given_and_defaults_for_the_rest() {
        let calls = Vis::parse(VIS).unwrap().calls(&given(&[("ip", "::1"), ("start_time", "-1m"), ("start_time", "-2m")])).unwrap();
        let args = given(&[("start", "-2m"), ("n", "3"), ("ip", "::1")]);
        assert_eq!(calls[0], Call { func: "f".into(), args, output: "t".into() });
        assert_eq!(calls[1], Call { func: "g".into(), args: given(&[("side", "both")]), output: "w".into() });
    }

    #[test]
    fn wrong_arguments_are_named() {
        let vis = Vis::parse(VIS).unwrap();
        let error = |pairs: &[(&str, &str)]| vis.calls(&given(pairs)).unwrap_err().to_string();
        assert_eq!(error(&[]), "missing required argument `ip`");
        assert_eq!(error(&[("stat_time", "1")]), "the script has no argument `stat_time`; it has: start_time, ip, side");
        assert_eq!(error(&[("ip", "::1"), ("side", "up")]), "`up` is not a valid value of `side`; valid are: both, client");
        assert!(Vis::parse("{").is_err());
    }
}
