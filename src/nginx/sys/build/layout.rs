//! What the bindings say of nginx's structs, as questions to the C compiler.
//!
//! libclang told bindgen where each field lies, and bindgen made Rust of that; either may be wrong, as bindgen was until
//! 0.73 with bit fields that share a word with the field before them. So a C program, compiled as nginx is, prints where
//! the C compiler puts every field of every struct of nginx in the bindings, as Rust that does not compile where the
//! bindings differ (`src/check.rs`). The list comes from the bindings alone: nothing that the module can name is left out.

use quote::ToTokens;
use syn::{Fields, ImplItem, ImplItemFn, Item, ItemImpl, Safety, Visibility};

use crate::Result;

/// The structs and unions of nginx in the bindings.
pub(crate) struct Layout {
    records: Vec<Record>,
}

/// A struct or union.
struct Record {
    rust: String,
    fields: Vec<Field>,
    bits: Vec<Bits>,
}

/// A field that is no bit field.
struct Field {
    name: String,
    of_type: String,
}

/// What reads and writes a bit field.
struct Bits {
    get: String,
    set: String,
}

impl Layout {
    /// Reads the bindings, and makes what reads and writes bit fields `const`, so that the compiler can try it.
    pub(crate) fn of(bindings: &mut syn::File) -> Layout {
        let mut records: Vec<Record> = bindings.items.iter().filter_map(record).collect();
        for item in &mut bindings.items {
            let Item::Impl(item) = item else { continue };
            make_const(item);
            let of = text(&item.self_ty);
            if let Some(record) = records.iter_mut().find(|record| record.rust == of) {
                record.bits = bits(item);
            }
        }
        Layout { records }
    }

    /// Whether there is a field of that name, as in `ngx_event_s.timer`; `ngx_event_s.set_posted` is a bit field.
    pub(crate) fn has(&self, path: &str) -> bool {
        let has = |record: &Record, name| {
            record.fields.iter().any(|field| field.name == name)
                || record.bits.iter().any(|bits| bits.set == name)
        };
        path.split_once('.').is_some_and(|(of, name)| {
            let mut records = self.records.iter().filter(|record| record.rust == of);
            records.any(|record| has(record, name))
        })
    }

    /// The names of a struct's fields, bit fields among them.
    pub(crate) fn fields<'a>(&'a self, of: &'a str) -> impl Iterator<Item = &'a str> {
        let records = self.records.iter().filter(move |record| record.rust == of);
        records.flat_map(|record| {
            let fields = record.fields.iter().map(|field| field.name.as_str());
            fields.chain(record.bits.iter().map(|bits| bits.get.as_str()))
        })
    }

    /// The C program, but for the headers that it begins with, which say `headers` when preprocessed.
    pub(crate) fn program(&self, headers: &str) -> Result<String> {
        let headers = headers.replace('{', " { ");
        let headers: Vec<&str> = headers.split_whitespace().collect();
        let headers = headers.join(" ");
        let mut program = String::from(PROLOGUE);
        for record in &self.records {
            record.ask(&self.type_in_c(&record.rust, &headers)?, &mut program);
        }
        Ok(program + "return 0;\n}\n")
    }

    /// How C names a type: by a tag, by a typedef, or, where it has no name, by the one field that has this type.
    fn type_in_c(&self, rust: &str, headers: &str) -> Result<String> {
        let tags = ["struct", "union"].map(|kind| format!("{kind} {rust}"));
        if let Some(tag) = tags
            .iter()
            .find(|tag| headers.contains(&format!("{tag} {{")))
        {
            return Ok(tag.clone());
        }
        if !rust.contains("__bindgen_ty_") {
            return Ok(rust.into());
        }
        for record in &self.records {
            if let Some(field) = record.fields.iter().find(|field| field.of_type == rust) {
                let of = self.type_in_c(&record.rust, headers)?;
                return Ok(format!("__typeof__((({of} *) 0)->{})", in_c(&field.name)));
            }
        }
        Err(format!("no field is a {rust}: how would C name it?").into())
    }
}

const PROLOGUE: &str = r#"
#include <stddef.h>
#include <stdio.h>

static void bits(const char *what, const void *p, size_t n)
{
    const unsigned char *bytes = p;
    printf("bits_are!(%s", what);
    for (size_t i = 0; i < n; i++) {
        if (bytes[i]) {
            printf(", %zu: %d", i, bytes[i]);
        }
    }
    puts(");");
}

int main(void)
{
"#;

impl Record {
    /// Asks where all of it is; `c` is how C names the type.
    fn ask(&self, c: &str, program: &mut String) {
        let rust = &self.rust;
        let mut ask = |line: String| program.extend([line.as_str(), "\n"]);
        ask(format!(
            r#"printf("size_is!({rust}, %zu, %zu);\n", sizeof({c}), _Alignof({c}));"#
        ));
        for Field { name, .. } in &self.fields {
            let field = in_c(name);
            ask(format!(
                r#"printf("field_is!({rust}, {name}, %zu, %zu);\n", offsetof({c}, {field}), sizeof((({c} *) 0)->{field}));"#
            ));
        }
        for Bits { get, set } in &self.bits {
            let field = in_c(get);
            ask(format!(
                r#"{{ static {c} it; it.{field} = ~0; bits("{rust}, {get}, {set}", &it, sizeof(it)); }}"#
            ));
        }
    }
}

/// A struct or union of nginx, unless nobody but nginx knows what is in it.
fn record(item: &Item) -> Option<Record> {
    let (name, fields) = match item {
        Item::Struct(item) => (&item.ident, &item.fields),
        Item::Union(item) => (&item.ident, &Fields::Named(item.fields.clone())),
        _ => return None,
    };
    let mut found = Vec::new();
    for field in fields {
        let name = field.ident.as_ref()?.to_string();
        if !matches!(field.vis, Visibility::Public(_)) {
            return None;
        }
        let of_type = text(&field.ty);
        if !name.starts_with("_bitfield_") && !name.starts_with("__bindgen_padding_") {
            found.push(Field { name, of_type });
        }
    }
    let rust = name.to_string();
    rust.starts_with("ngx_").then_some(Record {
        rust,
        fields: found,
        bits: Vec::new(),
    })
}

/// The bit fields that have methods in `item`: those with a `set_`.
fn bits(item: &ItemImpl) -> Vec<Bits> {
    let names: Vec<String> = methods(item).map(|m| m.sig.ident.to_string()).collect();
    let pair = |set: &String| {
        let name = set.strip_prefix("set_")?;
        let get = names
            .iter()
            .find(|get| get.as_str() == name || in_c(get) == name)?;
        (!name.ends_with("_raw")).then(|| Bits {
            get: get.clone(),
            set: set.clone(),
        })
    };
    names.iter().filter_map(pair).collect()
}

fn methods(item: &ItemImpl) -> impl Iterator<Item = &ImplItemFn> {
    item.items.iter().filter_map(|item| match item {
        ImplItem::Fn(method) => Some(method),
        _ => None,
    })
}

/// Makes the safe methods for bit fields `const`, and those of bindgen that they call.
fn make_const(item: &mut ItemImpl) {
    if item.trait_.is_some() {
        return;
    }
    let unit = text(&item.self_ty).starts_with("__BindgenBitfieldUnit");
    for item in &mut item.items {
        let ImplItem::Fn(method) = item else { continue };
        let sig = &mut method.sig;
        let wanted = !unit || sig.ident == "get_const" || sig.ident == "set_const";
        if wanted && sig.receiver().is_some() && matches!(sig.safety, Safety::Default) {
            sig.constness = Some(Default::default());
        }
    }
}

/// The name of a field in C: bindgen puts a `_` behind words of Rust, as in `type_`. nginx has no such names.
fn in_c(rust: &str) -> &str {
    rust.strip_suffix('_').unwrap_or(rust)
}

fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}
