//! Finds what can be mistaken in a file and writes the file anew, each mistake behind a switch.
//!
//! `a > b` becomes `(if on(17) { (a) >= (b) } else { a > b })`, a function begins with `if on(18) { return None; }`, a call
//! as a statement becomes `if !on(19) { ... }`. Only one switch is on at a time, so the text of a mistake is that of the
//! source, without the switches inside. Constants, patterns, macros and tests stay as they are.

use proc_macro2::Span;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};
use syn::{
    Attribute, BinOp, Block, Expr, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemTrait, Meta, Pat, ReturnType,
    Signature, Stmt, TraitItemFn, Type, UnOp,
    spanned::Spanned,
    visit::{self, Visit},
};

/// A mistake: its number is its switch, its name is what a list of reasons knows it by, wherever it moves.
pub struct Mutant {
    pub number: u32,
    pub file: String,
    pub line: usize,
    pub name: String,
}

/// How the text of a site becomes one with switches.
enum Shape {
    Expression,
    Statement,
    FunctionStart,
    AfterPattern,
}

struct Site {
    range: Range<usize>,
    shape: Shape,
    mutants: Vec<(u32, String)>,
}

/// The sites of a file, and its text.
pub struct File {
    text: String,
    sites: Vec<Site>,
}

/// Where in the text that was written a mistake stands, or all of a site.
pub type Places = Vec<(Range<usize>, Vec<u32>)>;

impl File {
    /// Looks for what can be mistaken in a file of this name below `src`; adds it to `mutants`.
    pub fn parse(name: &str, text: String, mutants: &mut Vec<Mutant>) -> syn::Result<File> {
        let syntax = syn::parse_file(&text)?;
        let mut finder = Finder { file: name, text: &text, path: Vec::new(), sites: Vec::new(), mutants };
        finder.visit_file(&syntax);
        let mut sites = finder.sites;
        // Stable: of two sites with one range the outer was found first.
        sites.sort_by_key(|site| (site.range.start, std::cmp::Reverse(site.range.end)));
        Ok(File { text, sites })
    }

    /// The file with a switch for every mistake but those left out.
    pub fn write(&self, left_out: &BTreeSet<u32>) -> (String, Places) {
        let (mut out, mut places) = (String::with_capacity(self.text.len() * 4), Places::new());
        self.write_range(0..self.text.len(), &self.sites, left_out, &mut out, &mut places);
        (out, places)
    }

    fn write_range(
        &self,
        range: Range<usize>,
        mut sites: &[Site],
        left_out: &BTreeSet<u32>,
        out: &mut String,
        places: &mut Places,
    ) {
        let mut at = range.start;
        while let Some((site, rest)) = sites.split_first() {
            let inner = rest.partition_point(|inner| inner.range.start < site.range.end);
            out.push_str(&self.text[at..site.range.start]);
            at = site.range.end;
            let begun = out.len();
            let mutants: Vec<_> =
                site.mutants.iter().filter(|(number, _)| !left_out.contains(number)).collect();
            let mut put = |out: &mut String, number: u32, text: &str| {
                places.push((out.len()..out.len() + text.len(), vec![number]));
                out.push_str(text);
            };
            for (index, (number, text)) in mutants.iter().enumerate() {
                let switch = format!("crate::mutated::on({number})");
                match site.shape {
                    Shape::Expression => {
                        out.push_str(&format!("{}if {switch} {{ ", if index == 0 { "(" } else { " else " }));
                        put(out, *number, text);
                        out.push_str(" }");
                    }
                    Shape::Statement => put(out, *number, &format!("if !{switch} {{ ")),
                    Shape::FunctionStart => put(out, *number, &format!(" if {switch} {{ return {text}; }}")),
                    Shape::AfterPattern => put(out, *number, &format!(" if !{switch}")),
                }
            }
            let (before, after) = match site.shape {
                _ if mutants.is_empty() => ("", ""),
                Shape::Expression => (" else { ", " })"),
                Shape::Statement => ("", "; }"),
                Shape::FunctionStart | Shape::AfterPattern => ("", ""),
            };
            out.push_str(before);
            self.write_range(site.range.clone(), &rest[..inner], left_out, out, places);
            out.push_str(after);
            places.push((begun..out.len(), mutants.iter().map(|(number, _)| *number).collect()));
            sites = &rest[inner..];
        }
        out.push_str(&self.text[at..range.end]);
    }
}

/// Where the modules lie that this file declares for tests alone: names, or paths beside the file.
pub fn test_modules(text: &str) -> syn::Result<Vec<String>> {
    let mut found = Vec::new();
    for item in syn::parse_file(text)?.items {
        let syn::Item::Mod(item) = item else { continue };
        if item.content.is_none() && is_test(&item.attrs) {
            let path = item.attrs.iter().find_map(|attr| match &attr.meta {
                Meta::NameValue(path) if path.path.is_ident("path") => match &path.value {
                    Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) => Some(path.value()),
                    _ => None,
                },
                _ => None,
            });
            found.push(path.unwrap_or_else(|| item.ident.to_string()));
        }
    }
    Ok(found)
}

struct Finder<'a> {
    file: &'a str,
    text: &'a str,
    /// The type and the function that is looked at.
    path: Vec<String>,
    sites: Vec<Site>,
    mutants: &'a mut Vec<Mutant>,
}

/// One line, and no more than so many characters of it from its beginning or its end.
fn shortened(text: &str, is_from_end: bool) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (length, most) = (line.chars().count(), 40);
    match length.checked_sub(most) {
        None | Some(0) => line,
        Some(over) if is_from_end => format!("…{}", line.chars().skip(over).collect::<String>()),
        Some(_) => format!("{}…", line.chars().take(most).collect::<String>()),
    }
}

impl Finder<'_> {
    fn text(&self, span: Span) -> &str {
        &self.text[span.byte_range()]
    }

    /// A site with its mistakes: what stands there instead, and how the list names it.
    fn site(&mut self, range: Range<usize>, shape: Shape, line: usize, choices: Vec<(String, String)>) {
        // What is planted is for the tests of promises to notice.
        if self.text[range.clone()].contains("planted!(") {
            return;
        }
        let room = self.file.split(['/', '.']).next().unwrap_or_default();
        let mut mutants = Vec::new();
        for (text, says) in choices {
            let number = self.mutants.len() as u32 + 1;
            let name = format!("{room} {}: {says}", self.path.join("::"));
            self.mutants.push(Mutant { number, file: self.file.into(), line, name });
            mutants.push((number, text));
        }
        self.sites.push(Site { range, shape, mutants });
    }

    fn within(&mut self, name: String, look: impl FnOnce(&mut Self)) {
        self.path.push(name);
        look(self);
        self.path.pop();
    }

    fn function(&mut self, attrs: &[Attribute], sig: &Signature, block: &Block) {
        if is_test(attrs) || sig.constness.is_some() {
            return;
        }
        self.within(sig.ident.to_string(), |finder| {
            let start = block.brace_token.span.open();
            let body = finder.text(block.span()).trim_matches(['{', '}']).trim().to_owned();
            let is_plain = !["new", "default"].contains(&sig.ident.to_string().as_str());
            let values = if block.stmts.is_empty() || !is_plain { Vec::new() } else { defaults(&sig.output) };
            let choices = values.into_iter().filter(|value| *value != body).map(|value| {
                let says = if value.is_empty() { "does nothing".into() } else { format!("returns {value}") };
                (value, says)
            });
            let choices = choices.collect();
            finder.site(
                start.byte_range().end..start.byte_range().end,
                Shape::FunctionStart,
                start.start().line,
                choices,
            );
            visit::visit_block(finder, block);
        });
    }

    /// An expression that may be true, or false, whatever it says.
    fn condition(&mut self, expr: &Expr, values: &[&str]) {
        let says = shortened(self.text(expr.span()), false);
        let choices = values.iter().map(|value| (value.to_string(), format!("{says} -> {value}"))).collect();
        self.site(expr.span().byte_range(), Shape::Expression, expr.span().start().line, choices);
    }
}

fn is_test(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let cfg = match &attr.meta {
            Meta::List(list) if attr.path().is_ident("cfg") => list.tokens.to_string(),
            _ => String::new(),
        };
        let is_named = cfg.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "test");
        attr.path().is_ident("test") || (is_named && !cfg.contains("not (test") && !cfg.contains("not(test"))
    })
}

fn contains_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => contains_let(&binary.left) || contains_let(&binary.right),
        _ => false,
    }
}

/// What may stand in an operator's place.
fn others(op: &BinOp) -> &'static [&'static str] {
    match op {
        BinOp::Lt(_) => &["<=", ">="],
        BinOp::Le(_) => &["<", ">"],
        BinOp::Gt(_) => &[">=", "<="],
        BinOp::Ge(_) => &[">", "<"],
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+", "/"],
        BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["*", "%"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+=", "/="],
        BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOrAssign(_) => &["&=", "^="],
        BinOp::BitXorAssign(_) => &["|="],
        _ => &[],
    }
}

/// Values that a function may return instead of what it should, as far as its type tells.
fn defaults(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec![String::new()],
        ReturnType::Type(_, ty) => values(ty),
    }
}

fn values(ty: &Type) -> Vec<String> {
    let of = |values: &[&str]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
    match ty {
        Type::Tuple(tuple) => {
            let all: Option<Vec<String>> =
                tuple.elems.iter().map(|ty| values(ty).into_iter().next()).collect();
            all.map(|all| format!("({})", all.join(", "))).into_iter().collect()
        }
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(_) if reference.mutability.is_none() => of(&["&[]"]),
            Type::Path(path) if path.path.is_ident("str") => of(&["\"\""]),
            _ => Vec::new(),
        },
        Type::Array(array) => {
            values(&array.elem).into_iter().take(1).map(|value| format!("[{value}; _]")).collect()
        }
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Vec::new() };
            let inner = match &last.arguments {
                syn::PathArguments::AngleBracketed(args) => match args.args.first() {
                    Some(syn::GenericArgument::Type(ty)) => values(ty),
                    _ => Vec::new(),
                },
                _ => Vec::new(),
            };
            let wrap = |by: &str| inner.iter().map(|value| format!("{by}({value})")).collect::<Vec<_>>();
            match last.ident.to_string().as_str() {
                "bool" => of(&["true", "false"]),
                "u8" | "u16" | "u32" | "u64" | "usize" | "u128" | "i8" | "i16" | "i32" | "i64" => {
                    of(&["0", "1"])
                }
                "f32" | "f64" => of(&["0.0", "1.0"]),
                "Option" => [of(&["None"]), wrap("Some")].concat(),
                "Result" => wrap("Ok"),
                "Box" | "Arc" => wrap(&format!("{}::new", last.ident)),
                "Vec" => of(&["Vec::new()"]),
                _ => of(&["Default::default()"]),
            }
        }
        _ => Vec::new(),
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'a ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
    }

    fn visit_item_trait(&mut self, item: &'a ItemTrait) {
        self.within(item.ident.to_string(), |finder| visit::visit_item_trait(finder, item));
    }

    // What shows a value to people is judged by people.
    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        let of_trait = item
            .trait_
            .as_ref()
            .and_then(|(_, path, _)| path.segments.last())
            .map(|last| last.ident.to_string());
        if is_test(&item.attrs) || of_trait.is_some_and(|name| name == "Debug" || name == "Display") {
            return;
        }
        let name = match &*item.self_ty {
            Type::Path(path) => {
                path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default()
            }
            other => self.text(other.span()).to_owned(),
        };
        self.within(name, |finder| visit::visit_item_impl(finder, item));
    }

    fn visit_expr_binary(&mut self, expr: &'a syn::ExprBinary) {
        let is_chain =
            matches!(expr.op, BinOp::And(_)) && (contains_let(&expr.left) || contains_let(&expr.right));
        if is_chain {
            for operand in [&*expr.left, &*expr.right].into_iter().filter(|operand| !contains_let(operand)) {
                self.condition(operand, &["true"]);
            }
        } else {
            let (left, right) = (self.text(expr.left.span()), self.text(expr.right.span()));
            let says = format!(
                "{} {} {}",
                shortened(left, true),
                self.text(expr.op.span()),
                shortened(right, false)
            );
            let is_assignment = self.text(expr.op.span()).ends_with('=')
                && !matches!(expr.op, BinOp::Le(_) | BinOp::Ge(_) | BinOp::Eq(_) | BinOp::Ne(_));
            let choices = others(&expr.op).iter().map(|op| {
                let text = if is_assignment {
                    format!("{left} {op} ({right})")
                } else {
                    format!("({left}) {op} ({right})")
                };
                (text, format!("{says} -> {op}"))
            });
            let choices = choices.collect();
            self.site(expr.span().byte_range(), Shape::Expression, expr.op.span().start().line, choices);
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'a syn::ExprUnary) {
        if matches!(expr.op, UnOp::Not(_) | UnOp::Neg(_)) {
            let says = format!(
                "{} -> without {}",
                shortened(self.text(expr.span()), false),
                self.text(expr.op.span())
            );
            let choice = (format!("({})", self.text(expr.expr.span())), says);
            self.site(expr.span().byte_range(), Shape::Expression, expr.span().start().line, vec![choice]);
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'a syn::ExprMatch) {
        let has_rest = expr.arms.iter().any(|arm| arm.guard.is_none() && matches!(arm.pat, Pat::Wild(_)));
        for arm in &expr.arms {
            if let Some((_, guard)) = &arm.guard {
                self.condition(guard, &["true", "false"]);
            } else if has_rest && !matches!(arm.pat, Pat::Wild(_)) {
                let (end, says) =
                    (arm.pat.span().byte_range().end, shortened(self.text(arm.pat.span()), false));
                let choices = vec![(String::new(), format!("{says} => never"))];
                self.site(end..end, Shape::AfterPattern, arm.pat.span().start().line, choices);
            }
        }
        visit::visit_expr_match(self, expr);
    }

    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if let Stmt::Expr(expr, Some(_)) = stmt {
            let call = if let Expr::Try(tried) = expr { &*tried.expr } else { expr };
            if matches!(call, Expr::Call(_) | Expr::MethodCall(_)) {
                let choice =
                    (String::new(), format!("{} is forgotten", shortened(self.text(expr.span()), false)));
                self.site(expr.span().byte_range(), Shape::Statement, expr.span().start().line, vec![choice]);
            }
        }
        visit::visit_stmt(self, stmt);
    }

    fn visit_expr_repeat(&mut self, expr: &'a syn::ExprRepeat) {
        self.visit_expr(&expr.expr);
    }

    fn visit_pat(&mut self, _: &'a Pat) {}
    fn visit_type(&mut self, _: &'a Type) {}
    fn visit_path(&mut self, _: &'a syn::Path) {}
    fn visit_angle_bracketed_generic_arguments(&mut self, _: &'a syn::AngleBracketedGenericArguments) {}
    fn visit_generics(&mut self, _: &'a syn::Generics) {}
    fn visit_attribute(&mut self, _: &'a Attribute) {}
    fn visit_expr_const(&mut self, _: &'a syn::ExprConst) {}
    fn visit_item_const(&mut self, _: &'a syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'a syn::ItemStatic) {}
    fn visit_item_enum(&mut self, _: &'a syn::ItemEnum) {}
    fn visit_impl_item_const(&mut self, _: &'a syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'a syn::TraitItemConst) {}
}

/// Names of equal mistakes in one function get a number.
pub fn number_equal_names(mutants: &mut [Mutant]) {
    let mut seen = BTreeMap::<String, u32>::new();
    for mutant in mutants {
        let times = seen.entry(mutant.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            mutant.name = format!("{} ({times})", mutant.name);
        }
    }
}
