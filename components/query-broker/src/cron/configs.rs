//! The part of a script's settings that we understand: where it exports to.

use api::vizierpb::configs::OTelEndpointConfig;

/// Seconds that an export may take. Reference: vizier.md §7.3.
const EXPORT_MAX_S: i64 = 5;

/// The endpoint in the YAML text, which has one form:
///
/// ```yaml
/// otelEndpointConfig:
///   url: host:port
///   insecure: true
///   headers:
///     name: value
/// ```
pub(crate) fn endpoint(yaml: &str) -> Option<OTelEndpointConfig> {
    let mut endpoint = OTelEndpointConfig { timeout: EXPORT_MAX_S, ..Default::default() };
    let mut path: Vec<(usize, String)> = Vec::new();
    for line in yaml.lines() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let Some((key, value)) = text.split_once(':') else { continue };
        let indent = line.len() - line.trim_start().len();
        path.retain(|(above, _)| *above < indent);
        path.push((indent, unquoted(key).to_owned()));
        let keys: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
        let value = unquoted(value);
        match keys[..] {
            ["otelEndpointConfig", "url"] => value.clone_into(&mut endpoint.url),
            ["otelEndpointConfig", "insecure"] => endpoint.insecure = value == "true",
            ["otelEndpointConfig", "headers", name] => {
                endpoint.headers.insert(name.to_owned(), value.to_owned());
            }
            _ => {}
        }
    }
    (!endpoint.url.is_empty()).then_some(endpoint)
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_and_anything_else_is_none() {
        let yaml =
            "# made\notelEndpointConfig:\n  url: \"otel:4317\"\n  insecure: true\n  headers:\n    api-key: 'a:b'\nother:\n  url: x\n";
        let found = endpoint(yaml).unwrap();
        assert_eq!((found.url.as_str(), found.insecure, found.headers["api-key"].as_str(), found.timeout), ("otel:4317", true, "a:b", 5));
        assert_eq!(endpoint(""), None);
        assert_eq!(endpoint("{]\n:::\n"), None);
    }
}
