//! The calculator of template expressions: Perl's operators under integer arithmetic, and a list of
//! functions.
//!
//! A value is a number (64 bits, overflow is an error) or a text; a text used as a number counts its leading
//! decimal digits. Operators, loosest first:
//!
//! ```text
//! ?:    ||    &&    == != <=> eq ne cmp    < > <= >= lt gt le ge    + - .    * / % x    ! -    **
//! ```
//!
//! There are no variables but `$1`, `$2`, …, no assignment, no loop. What is not listed is a syntax error.

use super::value::{ExprError, Value, leading_number};
use super::{RESULT_BYTES_MAX, sprintf};
use std::cmp::Ordering;

/// Nesting of parentheses and operators at most.
const DEPTH_MAX: usize = 64;

/// An expression that has been read. Chains of operators are lists, so that its depth is that of the text.
#[derive(Debug)]
pub(super) enum Expr {
    Constant(Value),
    /// `$1` is 0.
    Capture(usize),
    /// A text in double quotes that has captures in it.
    Quoted(Vec<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Power(Box<Expr>, Box<Expr>),
    /// Operators of one level, from left to right.
    Chain(Box<Expr>, Vec<(Operator, Expr)>),
    /// Condition, then, else.
    Choice(Box<[Expr; 3]>),
    Call(Box<str>, Vec<Expr>),
}

type Parsed = Result<Expr, ExprError>;
type Evaluated = Result<Value, ExprError>;

impl Expr {
    /// Reads an expression. Names of functions and their arguments are checked by [`value`](Self::value).
    pub(super) fn parse(text: &str) -> Parsed {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let expr = parser.ternary()?;
        parser.blanks();
        if parser.at < text.len() { parser.syntax() } else { Ok(expr) }
    }

    /// Its value with `$1`, `$2`, … bound to `captures`.
    pub(super) fn value(&self, captures: &[&str]) -> Evaluated {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Capture(at) => Ok(Value::Text(captures.get(*at).copied().unwrap_or("").to_owned())),
            Self::Quoted(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    piece.value(captures)?.write_to(&mut text);
                }
                Ok(Value::Text(text))
            }
            Self::Not(of) => Ok(Value::from_truth(!of.value(captures)?.truth())),
            Self::Negative(of) => {
                of.value(captures)?.number().checked_neg().map(Value::Number).ok_or(ExprError::Overflow)
            }
            Self::Power(base, exponent) => power(base.value(captures)?, exponent.value(captures)?),
            Self::Chain(first, rest) => {
                let mut left = first.value(captures)?;
                for (operator, right) in rest {
                    left = operator.apply(left, right.value(captures)?)?;
                }
                Ok(left)
            }
            Self::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                if condition.value(captures)?.truth() { yes.value(captures) } else { no.value(captures) }
            }
            Self::Call(name, arguments) => {
                let arguments: Result<Vec<Value>, ExprError> =
                    arguments.iter().map(|argument| argument.value(captures)).collect();
                function(name, &arguments?)
            }
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// Binary operators.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operator {
    Or,
    And,
    Add,
    Subtract,
    Concatenate,
    Multiply,
    Divide,
    Remainder,
    Repeat,
    /// Numbers compared.
    Numeric(fn(Ordering) -> bool),
    NumericOrder,
    /// Texts compared.
    Textual(fn(Ordering) -> bool),
    TextualOrder,
}

/// Binary operators by level, loosest first. Longer ones come before their prefixes.
const LEVELS: &[&[(&str, Operator)]] = &[
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[
        ("<=>", Operator::NumericOrder),
        ("==", Operator::Numeric(Ordering::is_eq)),
        ("!=", Operator::Numeric(Ordering::is_ne)),
        ("eq", Operator::Textual(Ordering::is_eq)),
        ("ne", Operator::Textual(Ordering::is_ne)),
        ("cmp", Operator::TextualOrder),
    ],
    &[
        ("<=", Operator::Numeric(Ordering::is_le)),
        (">=", Operator::Numeric(Ordering::is_ge)),
        ("<", Operator::Numeric(Ordering::is_lt)),
        (">", Operator::Numeric(Ordering::is_gt)),
        ("lt", Operator::Textual(Ordering::is_lt)),
        ("gt", Operator::Textual(Ordering::is_gt)),
        ("le", Operator::Textual(Ordering::is_le)),
        ("ge", Operator::Textual(Ordering::is_ge)),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract), (".", Operator::Concatenate)],
    &[
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Remainder),
        ("x", Operator::Repeat),
    ],
];

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        if rest.bytes().next().is_none_or(|byte| byte.is_ascii_graphic()) {
            return;
        }
        self.at += rest.len() - rest.trim_start().len();
    }

    fn syntax<T>(&self) -> Result<T, ExprError> {
        Err(ExprError::Syntax(self.at))
    }

    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= DEPTH_MAX {
            return Err(ExprError::TooDeep);
        }
        self.depth += 1;
        let value = inner(self);
        self.depth -= 1;
        value
    }

    /// Takes a symbol or word if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        let Some(after) = self.rest().strip_prefix(token) else { return false };
        let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        // `x3` is the operator x and a number, `xyz` is a name.
        let joined =
            word(after.chars().next()) && !(token == "x" && after.starts_with(|c: char| c.is_ascii_digit()));
        if word(token.chars().next()) && joined {
            return false;
        }
        self.at += token.len();
        true
    }

    fn expect(&mut self, token: &str) -> Result<(), ExprError> {
        if self.take(token) { Ok(()) } else { self.syntax() }
    }

    fn ternary(&mut self) -> Parsed {
        self.deeper(|p| {
            let condition = p.level(LEVELS)?;
            if !p.take("?") {
                return Ok(condition);
            }
            let yes = p.ternary()?;
            p.expect(":")?;
            let no = p.ternary()?;
            Ok(Expr::Choice(Box::new([condition, yes, no])))
        })
    }

    fn level(&mut self, levels: &[&[(&str, Operator)]]) -> Parsed {
        let Some((operators, tighter)) = levels.split_first() else { return self.unary() };
        let first = self.level(tighter)?;
        let mut rest = Vec::new();
        while let Some(operator) = self.operator(operators) {
            rest.push((operator, self.level(tighter)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Chain(Box::new(first), rest) })
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        self.blanks();
        let rest = self.rest();
        // `**` and `<<` belong to other levels (or to none).
        let is_other = |op: &str| match op {
            "*" => rest.starts_with("**"),
            "<" => rest.starts_with("<<") || rest.starts_with("<=>"),
            "<=" => rest.starts_with("<=>"),
            _ => false,
        };
        operators.iter().find(|(op, _)| !is_other(op) && self.take(op)).map(|(_, operator)| *operator)
    }

    fn unary(&mut self) -> Parsed {
        self.deeper(|p| {
            if p.take("!") {
                return Ok(Expr::Not(Box::new(p.unary()?)));
            }
            if p.take("-") {
                return Ok(Expr::Negative(Box::new(p.unary()?)));
            }
            if p.take("+") {
                return p.unary();
            }
            p.power()
        })
    }

    fn power(&mut self) -> Parsed {
        let base = self.primary()?;
        if !self.take("**") {
            return Ok(base);
        }
        Ok(Expr::Power(Box::new(base), Box::new(self.unary()?)))
    }

    fn primary(&mut self) -> Parsed {
        self.blanks();
        match self.rest().bytes().next() {
            Some(b'(') => {
                self.at += 1;
                let value = self.ternary()?;
                self.expect(")")?;
                Ok(value)
            }
            Some(b'$') => {
                self.at += 1;
                self.capture()
            }
            Some(b'0'..=b'9') => self.literal(),
            Some(quote @ (b'\'' | b'"')) => self.quoted(char::from(quote)),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => self.call(),
            _ => self.syntax(),
        }
    }

    fn digits(&mut self, test: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !test(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("")
    }

    /// After `$`: the capture of that number, empty if there is none. `${1}` is `$1`.
    fn capture(&mut self) -> Parsed {
        let braced = self.rest().starts_with('{');
        self.at += usize::from(braced);
        let digits = self.digits(|c| c.is_ascii_digit());
        let number: usize = digits.parse().map_err(|_| ExprError::Syntax(self.at))?;
        if braced {
            self.expect("}")?;
        }
        let none = || Expr::Constant(Value::Text(String::new()));
        Ok(number.checked_sub(1).map_or_else(none, Expr::Capture))
    }

    /// A number as Perl reads it: a leading zero makes it octal, `0x` hexadecimal, `0b` binary.
    fn literal(&mut self) -> Parsed {
        let start = self.at;
        let word: String = self.digits(|c| c.is_ascii_alphanumeric() || c == '_').replace('_', "");
        let (radix, digits) = match word.strip_prefix('0') {
            Some("") | None => (10, word.as_str()),
            Some(rest) if rest.starts_with(['x', 'X']) => (16, rest.get(1..).unwrap_or("")),
            Some(rest) if rest.starts_with(['b', 'B']) => (2, rest.get(1..).unwrap_or("")),
            Some(rest) => (8, rest),
        };
        // `3x2` is a repetition: give back what follows the digits.
        if let Some((number, _)) = word.split_once('x').filter(|_| radix == 10) {
            self.at = start + number.len();
            return number.parse().map(constant).map_err(|_| ExprError::Syntax(start));
        }
        i64::from_str_radix(digits, radix).map(constant).map_err(|_| ExprError::Syntax(start))
    }

    fn quoted(&mut self, quote: char) -> Parsed {
        self.at += 1;
        let mut pieces = Vec::new();
        let mut text = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else { return self.syntax() };
            self.at += c.len_utf8();
            match c {
                c if c == quote => break,
                '\\' => {
                    let Some(escaped) = self.rest().chars().next() else { return self.syntax() };
                    self.at += escaped.len_utf8();
                    text.push(escaped);
                }
                '$' if quote == '"' && self.rest().starts_with(|c: char| c.is_ascii_digit() || c == '{') => {
                    pieces.push(Expr::Constant(Value::Text(std::mem::take(&mut text))));
                    pieces.push(self.capture()?);
                }
                c => text.push(c),
            }
        }
        let end = Expr::Constant(Value::Text(text));
        if pieces.is_empty() {
            return Ok(end);
        }
        pieces.push(end);
        Ok(Expr::Quoted(pieces))
    }

    fn call(&mut self) -> Parsed {
        let name = self.digits(|c| c.is_ascii_alphanumeric() || c == '_');
        let mut arguments = Vec::new();
        self.expect("(")?;
        if !self.take(")") {
            loop {
                arguments.push(self.ternary()?);
                if self.take(")") {
                    break;
                }
                self.expect(",")?;
            }
        }
        Ok(Expr::Call(name.into(), arguments))
    }
}

fn constant(number: i64) -> Expr {
    Expr::Constant(Value::Number(number))
}

fn power(base: Value, exponent: Value) -> Evaluated {
    let exponent = exponent.number();
    match u32::try_from(exponent) {
        Ok(e) => base.number().checked_pow(e).map(Value::Number).ok_or(ExprError::Overflow),
        Err(_) if exponent < 0 => Ok(Value::Number(0)),
        Err(_) => Err(ExprError::Overflow),
    }
}

impl Operator {
    fn apply(self, left: Value, right: Value) -> Evaluated {
        let (a, b) = (left.number(), right.number());
        let number = |n: Option<i64>| n.map(Value::Number).ok_or(ExprError::Overflow);
        let divided = |n: Option<i64>| if b == 0 { Err(ExprError::DivisionByZero) } else { number(n) };
        match self {
            Self::Or => Ok(if left.truth() { left } else { right }),
            Self::And => Ok(if left.truth() { right } else { left }),
            Self::Add => number(a.checked_add(b)),
            Self::Subtract => number(a.checked_sub(b)),
            Self::Multiply => number(a.checked_mul(b)),
            Self::Divide => divided(a.checked_div(b)),
            Self::Remainder => divided(a.checked_rem(b)),
            Self::Concatenate => short(left.text() + &right.text()),
            Self::Repeat => repeated(&left.text(), b),
            Self::Numeric(test) => Ok(Value::from_truth(test(a.cmp(&b)))),
            Self::NumericOrder => Ok(Value::Number(a.cmp(&b) as i64)),
            Self::Textual(test) => Ok(Value::from_truth(test(left.text().cmp(&right.text())))),
            Self::TextualOrder => Ok(Value::Number(left.text().cmp(&right.text()) as i64)),
        }
    }
}

fn short(text: String) -> Evaluated {
    if text.len() > RESULT_BYTES_MAX { Err(ExprError::TooLong) } else { Ok(Value::Text(text)) }
}

fn repeated(text: &str, times: i64) -> Evaluated {
    let times = usize::try_from(times).unwrap_or(0);
    match text.len().checked_mul(times) {
        Some(length) if length <= RESULT_BYTES_MAX => Ok(Value::Text(text.repeat(times))),
        _ => Err(ExprError::TooLong),
    }
}

fn function(name: &str, arguments: &[Value]) -> Evaluated {
    let wrong = || ExprError::Arguments(name.to_owned());
    let checked = |n: Option<i64>| n.map(Value::Number).ok_or(ExprError::Overflow);
    match (name, arguments) {
        ("sprintf", [format, rest @ ..]) => sprintf::format(&format.text(), rest).and_then(short),
        ("mknum", [s]) => Ok(Value::Number(s.text().bytes().map(i64::from).sum())),
        ("a2idx", [c]) => Ok(Value::Number(letter(&c.text()).ok_or_else(wrong)? + 1)),
        ("a2zidx", [c]) => Ok(Value::Number(letter(&c.text()).ok_or_else(wrong)?)),
        ("dim2idx", [first, pairs @ ..]) if pairs.len() % 2 == 0 => checked(dim2idx(first, pairs)),
        ("skip", [index, holes]) => Ok(Value::Number(skip(index.number(), &holes.text()))),
        ("ipadd", numbers) if numbers.len() == 7 => {
            let numbers: Vec<i64> = numbers.iter().map(Value::number).collect();
            ipadd(&numbers).map(Value::Text).ok_or_else(wrong)
        }
        ("int", [n]) => Ok(Value::Number(n.number())),
        ("abs", [n]) => checked(n.number().checked_abs()),
        ("length", [s]) => checked(i64::try_from(s.text().chars().count()).ok()),
        ("lc", [s]) => Ok(Value::Text(s.text().to_lowercase())),
        ("uc", [s]) => Ok(Value::Text(s.text().to_uppercase())),
        ("ord", [s]) => Ok(Value::Number(s.text().chars().next().map_or(0, |c| i64::from(u32::from(c))))),
        ("chr", [n]) => {
            let c = u32::try_from(n.number()).ok().and_then(char::from_u32).ok_or_else(wrong)?;
            Ok(Value::Text(c.to_string()))
        }
        ("hex", [s]) => radix(&s.text(), "0x", 16).ok_or_else(wrong),
        ("oct", [s]) => radix(&s.text(), "0", 8).ok_or_else(wrong),
        ("substr", [s, rest @ ..]) if matches!(rest.len(), 1 | 2) => Ok(Value::Text(substr(&s.text(), rest))),
        ("index", [s, wanted]) => {
            let text = s.text();
            let at = text.find(&wanted.text()).and_then(|at| text.get(..at)).map(|head| head.chars().count());
            Ok(Value::Number(at.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1)))
        }
        _ => Err(wrong()),
    }
}

fn radix(text: &str, prefix: &str, radix: u32) -> Option<Value> {
    let digits = text.strip_prefix(prefix).unwrap_or(text);
    let digits = if digits.is_empty() { "0" } else { digits };
    i64::from_str_radix(digits, radix).ok().map(Value::Number)
}

/// Place of a letter in the alphabet, a = 0.
fn letter(text: &str) -> Option<i64> {
    let c = text.bytes().next().filter(u8::is_ascii_alphabetic)?;
    Some(i64::from(c.to_ascii_lowercase() - b'a'))
}

/// 1-based index in a layout of several dimensions: v1, then (size, value) of each inner dimension.
fn dim2idx(first: &Value, pairs: &[Value]) -> Option<i64> {
    pairs.chunks_exact(2).try_fold(first.number(), |index, pair| match pair {
        [size, value] => index.checked_sub(1)?.checked_mul(size.number())?.checked_add(value.number()),
        _ => None,
    })
}

/// The index after taking out `start[:count]` positions; -1 for an index inside such a hole.
fn skip(index: i64, holes: &str) -> i64 {
    let mut removed = 0i64;
    for hole in holes.split(',').filter(|h| !h.trim().is_empty()) {
        let (start, count) = hole.split_once(':').map_or((hole, 1), |(s, c)| (s, leading_number(c)));
        let (start, count) = (leading_number(start), count.max(0));
        if index >= start.saturating_add(count) {
            removed = removed.saturating_add(count);
        } else if index >= start {
            return -1;
        }
    }
    index.saturating_sub(removed)
}

/// An address advanced inside /24 networks, of which some low and high host numbers stay unused.
fn ipadd(numbers: &[i64]) -> Option<String> {
    let &[a, b, c, d, add, low, high] = numbers else { return None };
    let usable = 256i64.checked_sub(low)?.checked_sub(high).filter(|n| *n > 0 && low >= 0 && high >= 0)?;
    let position = d.checked_sub(low)?.checked_add(add)?;
    let (c, d) = (c.checked_add(position.div_euclid(usable))?, position.rem_euclid(usable) + low);
    let octets = [a, b, c, d];
    octets.iter().all(|o| (0..=255).contains(o)).then(|| octets.map(|o| o.to_string()).join("."))
}

fn substr(text: &str, range: &[Value]) -> String {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let offset = range.first().map_or(0, Value::number);
    let start = if offset < 0 { length.saturating_add(offset).max(0) } else { offset.min(length) };
    let end = match range.get(1).map(Value::number) {
        None => length,
        Some(n) if n < 0 => length.saturating_add(n).max(start),
        Some(n) => start.saturating_add(n).min(length),
    };
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    text.chars().skip(start).take(end.saturating_sub(start)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::*;

    #[test]
    fn expressions() {
        for (text, expect) in [
            ("1+2*3", "7"),
            ("(1+2)*3", "9"),
            ("-5/2", "-2"),
            ("-5%3", "-2"),
            ("5%-3", "2"),
            ("$1+100", "112"),
            ("010+1", "9"),
            ("0x10", "16"),
            ("0b101", "5"),
            ("2**10", "1024"),
            ("-2**2", "-4"),
            ("2**-1", "0"),
            ("10-3-2", "5"),
            ("$1", "012"),
            ("$2", "ab"),
            ("$9", ""),
            ("${1}+1", "13"),
            ("$2 . '-' . 3", "ab-3"),
            ("\"x${1}y$2\\$\"", "x012yab$"),
            ("'x' x 3", "xxx"),
            ("'x'x3", "xxx"),
            ("$1==12 ? 'yes' : 'no'", "yes"),
            ("$1 eq 12 ? 'yes' : 'no'", "no"),
            ("$1 > 5 && $1 < 20", "1"),
            ("0 || 'b'", "b"),
            ("1<2", "1"),
            ("2<1", ""),
            ("!1", ""),
            ("3<=>2", "1"),
            ("'a' cmp 'b'", "-1"),
            ("sprintf(\"%03d\",$1)", "012"),
            ("sprintf('%s-%x-%05.1d|%-4s|%+d%%', 'a', 255, 7, 'b', 3)", "a-ff-    7|b   |+3%"),
            ("mknum('ab')", "195"),
            ("a2idx('c')", "3"),
            ("a2zidx('c')", "2"),
            ("dim2idx(2,10,3,8,4)", "100"),
            ("skip(7,'3:2')", "5"),
            ("skip(4,'3:2')", "-1"),
            ("skip(2,'3:2')", "2"),
            ("ipadd(10,1,0,254,3,1,1)", "10.1.1.3"),
            ("ipadd(10,1,0,10,3,0,0)", "10.1.0.13"),
            ("substr('abcdef',-3,2)", "de"),
            ("length('abc')+ord('A')", "68"),
            ("uc(substr($2,0,1)).lc('XY')", "Axy"),
            ("index('hello','l')", "2"),
        ] {
            assert_eq!(evaluate(text, &["012", "ab"]).as_deref(), Ok(expect), "{text}");
        }
    }

    #[test]
    fn not_expressions() {
        for text in [
            "",
            "1+",
            "1 2",
            "(1",
            "1)",
            "1/0",
            "1%0",
            "system('id')",
            "`id`",
            "open(F,'x')",
            "$x",
            "$ENV{A}",
            "qx(id)",
            "a",
            "9223372036854775807+1",
            "99999999999999999999",
            "089",
            "1;2",
            "$1=2",
            "'x' x 99999999",
            "'abc",
            "2**99",
            "ipadd(1,2,3)",
            "a2idx(1)",
            "@x",
            "exec 1",
        ] {
            assert!(evaluate(text, &["1"]).is_err(), "{text}");
        }
        let deep = format!("{}1{}", "(".repeat(9000), ")".repeat(9000));
        assert_eq!(evaluate(&deep, &[]), Err(ExprError::TooDeep));
        assert_eq!(evaluate(&"-".repeat(9000), &[]), Err(ExprError::TooDeep));
        assert_eq!(evaluate(&"1?".repeat(9000), &[]), Err(ExprError::TooDeep));
    }
}
