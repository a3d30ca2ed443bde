//! What is built for users compiles with the oldest Rust that the manifest names. clippy's `incompatible_msrv` finds
//! methods of the standard library that are newer; this test finds syntax that is newer. `make msrv` runs that
//! compiler.

use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{BinOp, Expr, ExprBinary};

/// Conditions that chain a `let` with others, allowed since Rust 1.88.
#[derive(Default)]
struct LetChains(usize);

impl<'ast> Visit<'ast> for LetChains {
    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        let is_let = |side: &Expr| matches!(side, Expr::Let(_));
        if matches!(binary.op, BinOp::And(_)) && (is_let(&binary.left) || is_let(&binary.right)) {
            self.0 += 1;
        }
        visit::visit_expr_binary(self, binary);
    }
}

fn let_chains(text: &str) -> usize {
    let file = syn::parse_file(text).expect("Rust");
    let mut chains = LetChains::default();
    chains.visit_file(&file);
    chains.0
}

#[test]
fn nothing_is_newer_than_the_oldest_rust() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the manifest");
    assert!(
        manifest.contains("rust-version = \"1.85\""),
        "another Rust: is this test right for it?"
    );
    let mut seen = 0;
    for path in super::files(&root.join("src")) {
        let text = fs::read_to_string(&path).expect("a readable source file");
        assert_eq!(let_chains(&text), 0, "{}: let chains", path.display());
        seen += 1;
    }
    assert!(seen > 100, "only {seen} files found");
}

#[test]
fn a_planted_let_chain_is_found() {
    for (text, expected) in [
        ("fn f() { if let Some(a) = b && c {} }", 1),
        ("fn f() { while c && let Some(a) = b {} }", 1),
        ("fn f() { if c && d && let Some(a) = b && e {} }", 1),
        ("fn f() { if let Some(a) = b { c && d } }", 0),
    ] {
        assert_eq!(let_chains(text), expected, "{text}");
    }
}
