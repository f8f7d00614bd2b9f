//! Text to syntax tree, within limits and with one liberty: commas may be missing between arguments on successive lines.

use rustpython_ruff_python_ast::token::TokenKind;
use rustpython_ruff_python_ast::{Expr, ModModule};
use rustpython_ruff_python_parser::{Mode, ParseError, ParseErrorType, Parsed, lexer};

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::limits::{CHAIN_MAX, NESTING_MAX, SCRIPT_BYTES_MAX, SYNTAX_ERRORS_MAX};
use crate::source::{Span, span};

/// The syntax tree of a script. Spans are those of the text as given.
pub(crate) fn parse_script(text: &str) -> std::result::Result<ModModule, Vec<Diagnostic>> {
    check_limits(text).map_err(|problem| vec![*problem])?;
    let parsed = parse_module(text);
    if parsed.errors().is_empty() {
        return Ok(parsed.into_syntax());
    }
    if let Some(mended) = add_missing_commas(text, &parsed).map(|mended| parse_module(&mended))
        && mended.errors().is_empty()
    {
        return Ok(mended.into_syntax());
    }
    Err(parsed.errors().iter().take(SYNTAX_ERRORS_MAX).map(|error| *syntax_error(error)).collect())
}

/// One expression, such as the value of an argument given from outside.
pub(crate) fn parse_value(text: &str) -> Result<Expr> {
    let whole = |error: Box<Diagnostic>| Box::new(Diagnostic { span: None, ..*error });
    check_limits(text).map_err(whole)?;
    let parsed = rustpython_ruff_python_parser::parse_expression(text).map_err(|error| whole(syntax_error(&error)))?;
    Ok(parsed.into_expr())
}

fn parse_module(text: &str) -> Parsed<ModModule> {
    rustpython_ruff_python_parser::parse_unchecked_source(text, rustpython_ruff_python_ast::PySourceType::Python)
}

fn syntax_error(error: &ParseError) -> Box<Diagnostic> {
    let message = match &error.error {
        ParseErrorType::OtherError(text) => format!("SyntaxError: {text}"),
        other => format!("SyntaxError: {other}"),
    };
    Diagnostic::new(Code::Syntax, span(error), message)
}

/// The parser recurses on nesting, and so do the readers of its tree: both are bounded before it starts.
fn check_limits(text: &str) -> Result<()> {
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(Diagnostic::whole(Code::Limit, format!("script too large: {} bytes, at most {SCRIPT_BYTES_MAX}", text.len())));
    }
    let Some(message) = too_deep(text) else { return Ok(()) };
    // The shortest text that is too deep ends at the place to blame.
    let (mut fine, mut bad) = (0, text.len());
    while fine + 1 < bad {
        let mut middle = usize::midpoint(fine, bad);
        while !text.is_char_boundary(middle) {
            middle -= 1;
        }
        if middle == fine {
            break;
        }
        if too_deep(&text[..middle]).is_some() { bad = middle } else { fine = middle }
    }
    Err(Diagnostic::new(Code::Limit, Span { start: fine, end: bad }, message).with_help("assign parts of it to names first"))
}

/// What a bracket has gathered.
#[derive(Default, Clone, Copy)]
struct Level {
    /// Operators, attributes and calls since the last separator.
    chain: usize,
    /// Prefix operators since the last separator.
    prefixes: usize,
    /// Keywords that open blocks. Within brackets they are an error, from which the parser recovers by nesting.
    blocks: usize,
}

/// How deep a text goes, token by token.
struct Depth {
    levels: Vec<Level>,
    indents: usize,
    operand_before: bool,
}

fn too_deep(text: &str) -> Option<String> {
    let mut lexer = lexer::lex(text, Mode::Module);
    let mut depth = Depth { levels: vec![Level::default()], indents: 0, operand_before: false };
    loop {
        let kind = lexer.next_token();
        if kind == TokenKind::EndOfFile {
            return None;
        }
        depth.take(kind);
        if depth.nesting() > NESTING_MAX {
            return Some(format!("nested too deeply: at most {NESTING_MAX} levels"));
        }
        if depth.chain() > CHAIN_MAX {
            return Some(format!("expression too long: at most {CHAIN_MAX} operators in a row"));
        }
    }
}

impl Depth {
    fn take(&mut self, kind: TokenKind) {
        if matches!(kind, TokenKind::Comment | TokenKind::NonLogicalNewline) {
            return;
        }
        let last = self.levels.len() - 1;
        let level = &mut self.levels[last];
        if opens(kind) {
            level.chain += 1;
            self.levels.push(Level::default());
        } else if closes(kind) {
            self.levels.truncate(last.max(1));
        } else if kind == TokenKind::Comma {
            (level.chain, level.prefixes) = (0, 0);
        } else if matches!(kind, TokenKind::Newline | TokenKind::Semi) {
            *level = Level { blocks: level.blocks * usize::from(last > 0), ..Level::default() };
        } else if kind == TokenKind::Indent {
            self.indents += 1;
        } else if kind == TokenKind::Dedent {
            self.indents = self.indents.saturating_sub(1);
        } else if !starts_operand(kind) {
            level.chain += 1;
            let infix = self.operand_before && matches!(kind, TokenKind::Plus | TokenKind::Minus);
            if PREFIXES.contains(&kind) {
                level.prefixes += usize::from(!infix);
            } else if may_open_block(kind) {
                level.blocks += 1;
            }
        }
        self.operand_before = ends_operand(kind);
    }

    fn nesting(&self) -> usize {
        self.indents + self.levels.len() - 1 + self.levels.iter().map(|l| l.prefixes + l.blocks).sum::<usize>()
    }

    fn chain(&self) -> usize {
        self.levels.iter().map(|l| l.chain).sum()
    }
}

/// Tokens after which the parser recurses.
const PREFIXES: [TokenKind; 9] = [
    TokenKind::Plus,
    TokenKind::Minus,
    TokenKind::Tilde,
    TokenKind::Not,
    TokenKind::Star,
    TokenKind::DoubleStar,
    TokenKind::Await,
    TokenKind::Yield,
    TokenKind::Lambda,
];

fn may_open_block(kind: TokenKind) -> bool {
    let joins = matches!(kind, TokenKind::And | TokenKind::Or | TokenKind::In | TokenKind::Is | TokenKind::As | TokenKind::Import);
    matches!(kind, TokenKind::Match | TokenKind::Case) || (kind.is_non_soft_keyword() && !joins)
}

fn opens(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace | TokenKind::FStringStart | TokenKind::TStringStart)
}

fn closes(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace | TokenKind::FStringEnd | TokenKind::TStringEnd)
}

fn ends_operand(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Name
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::String
            | TokenKind::FStringEnd
            | TokenKind::True
            | TokenKind::False
            | TokenKind::None
            | TokenKind::Rpar
            | TokenKind::Rsqb
            | TokenKind::Rbrace
    )
}

fn starts_operand(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Name
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::String
            | TokenKind::True
            | TokenKind::False
            | TokenKind::None
    )
}

/// Five scripts that people use lack a comma at the end of a line of arguments, which the original's parser lets pass (reference: pxl.md §1).
/// Puts it in the place of the white space or comment there, so that nothing moves. None if none is missing.
fn add_missing_commas(text: &str, parsed: &Parsed<ModModule>) -> Option<String> {
    let mut mended: Option<Vec<u8>> = None;
    // For each open bracket: whether it is that of a call.
    let mut open: Vec<bool> = Vec::new();
    let mut before: Option<(TokenKind, usize)> = None;
    for token in parsed.tokens() {
        let kind = token.kind();
        if matches!(kind, TokenKind::Comment | TokenKind::NonLogicalNewline) {
            continue;
        }
        let at = span(token);
        if let Some((last, end)) = before
            && open.last() == Some(&true)
            && ends_operand(last)
            && starts_operand(kind)
            && !(last == TokenKind::String && kind == TokenKind::String)
            && text.get(end..at.start).is_some_and(|gap| gap.contains('\n'))
        {
            let bytes = mended.get_or_insert_with(|| text.as_bytes().to_vec());
            put_comma(bytes, end, at.start);
        }
        if kind == TokenKind::Lpar {
            open.push(matches!(before, Some((TokenKind::Name | TokenKind::Rpar | TokenKind::Rsqb, _))));
        } else if opens(kind) {
            open.push(false);
        } else if closes(kind) {
            open.pop();
        }
        before = Some((kind, at.end));
    }
    mended.and_then(|bytes| String::from_utf8(bytes).ok())
}

fn put_comma(bytes: &mut [u8], start: usize, end: usize) {
    let Some(gap) = bytes.get_mut(start..end) else { return };
    if let Some(first) = gap.first_mut() {
        let was = *first;
        *first = b',';
        // A comment right behind the operand: white it out up to its line's end.
        if was == b'#' {
            for byte in gap.iter_mut().skip(1).take_while(|byte| **byte != b'\n') {
                *byte = b' ';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_may_be_missing_at_the_end_of_a_line_of_arguments() {
        for text in ["f(a=1\n  b=2)", "f(a=1 # one\n  b=2)", "f(a=1# one\nb=2)", "f(g(1)\n 'x')", "f(a=df.x\r\n\r\n b=(1,\n 2)\n)"] {
            assert!(!parse_module(text).errors().is_empty(), "{text}");
            assert!(parse_script(text).is_ok(), "{text}");
        }
        for text in ["f(a=1 b=2)", "x = [1\n 2]", "f(a\n(b) c)"] {
            assert!(parse_script(text).is_err(), "{text}");
        }
        assert_eq!(parse_script("f('a'\n 'b')").unwrap().body.len(), 1);
    }

    #[test]
    fn depth_is_refused_before_it_is_parsed() {
        let deep = [
            "(".repeat(100_000),
            "[".repeat(60) + &"]".repeat(60),
            "-".repeat(100_000) + "1",
            "not ".repeat(50_000) + "x",
            "x".to_owned() + &".a".repeat(100_000),
            "x".to_owned() + &" + 1".repeat(50_000),
            "x".to_owned() + &"()".repeat(50_000),
            "1".to_owned() + &" ** 1".repeat(40_000),
            "a".to_owned() + &" if a else a".repeat(15_000),
            "lambda: ".repeat(30_000),
            "(\n".to_owned() + &(0..200).map(|i| " ".repeat(i) + "if a: x,").collect::<Vec<_>>().join("\n"),
            (0..200).map(|i| " ".repeat(i) + "if a:").collect::<Vec<_>>().join("\n"),
            "f'{".repeat(1000),
        ];
        for text in &deep {
            let errors = parse_script(text).unwrap_err();
            assert_eq!(errors[0].code, Code::Limit, "{text:.40}");
            assert!(errors[0].span.is_some());
        }
        assert_eq!(parse_script(&"#".repeat(SCRIPT_BYTES_MAX + 1)).unwrap_err()[0].code, Code::Limit);
    }

    #[test]
    fn the_deepest_allowed_nesting_fits_the_stack() {
        let n = NESTING_MAX - 1;
        for (open, close) in [("(", ")"), ("[", "]"), ("f(", ")"), ("-", ""), ("not ", ""), ("{1: ", "}")] {
            let text = format!("x = {}1{}", open.repeat(n / 2), close.repeat(n / 2));
            assert!(parse_script(&text).is_ok(), "{text}");
        }
        assert!(parse_script(&("x".to_owned() + &".a".repeat(CHAIN_MAX - 1))).is_ok());
    }
}
