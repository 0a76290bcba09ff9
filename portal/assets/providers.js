import { api } from "./api.js";
import { act, badge, byId, confirmed, el, notice, when, withSession } from "./ui.js";

const form = byId("draft");
let editing = null;

function edit(draft) {
  editing = draft?.id ?? null;
  form.reset();
  byId("draft-title").textContent = draft ? `Edit ${draft.provider_id}` : "New provider";
  byId("cancel").hidden = !draft;
  if (!draft) return;
  form.elements.pack_id.value = draft.pack_id;
  form.elements.provider_id.value = draft.provider_id;
  form.elements.display_name.value = draft.manifest.display_name ?? "";
  form.elements.base_url.value = draft.manifest.base_url ?? "";
  form.elements.models.value = (draft.manifest.models ?? []).join("\n");
  form.elements.display_name.focus();
}

function draftItem(draft) {
  const publish = el("button", { type: "button", class: "small main" }, "Publish");
  publish.addEventListener("click", () => act(publish, async () => {
    const done = await api("POST", `/provider-drafts/${draft.id}/publish`);
    await show();
    notice(done.changed
      ? `${done.provider_id} is published in ${done.pack_id} ${done.version}.`
      : `${done.provider_id} was published already; nothing has changed.`);
  }));
  return el("li", { "data-provider": draft.provider_id },
    el("div", { class: "row spread" },
      el("strong", {}, draft.manifest.display_name || draft.provider_id),
      badge(draft.status, draft.status === "published" ? "good" : "warn")),
    el("span", { class: "soft" }, el("code", {}, `${draft.pack_id}/${draft.provider_id}`), ` · changed ${when(draft.updated_at)}`),
    el("div", { class: "row" }, publish,
      el("button", { type: "button", class: "small", onclick: () => edit(draft) }, "Edit"),
      confirmed("Delete", "Really delete?", async () => {
        await api("DELETE", `/provider-drafts/${draft.id}`);
        if (editing === draft.id) edit(null);
        await show();
        notice("The draft is deleted.");
      })));
}

function importForm(provider, hosts) {
  const host = el("select", { name: "host", required: true }, ...hosts.map((h) => el("option", { value: h.id }, h.name)));
  const name = el("input", { name: "name", required: true, autocomplete: "off" });
  const key = el("input", { name: "api_key", type: "password", autocomplete: "off" });
  const send = async (action) => {
    const body = { host_id: Number(host.value), accounts: [{ name: name.value, api_key: key.value }] };
    return api("POST", `/providers/${encodeURIComponent(provider.id)}/${action}`, body);
  };
  const preview = el("button", { type: "button" }, "Preview");
  const submit = el("button", { class: "main" }, "Import");
  const inner = el("form", {},
    el("label", {}, "Host", host), el("label", {}, "Account name", name), el("label", {}, "API key", key),
    el("div", { class: "row" }, submit, preview));
  preview.addEventListener("click", () => inner.reportValidity() && act(preview, async () => {
    const { plan } = await send("preview-import");
    notice(plan.map((step) => `${step.account}: would ${step.action}`).join(", "));
  }));
  inner.addEventListener("submit", (event) => {
    event.preventDefault();
    act(submit, async () => {
      const done = await send("import");
      inner.reset();
      notice(`${done.created} imported, ${done.skipped} there already.`);
    });
  });
  return inner;
}

function publishedItem(pack, provider, hosts) {
  return el("li", {},
    el("div", { class: "row spread" }, el("strong", {}, provider.display_name ?? provider.id), badge(`${pack.id} ${pack.version}`)),
    el("span", { class: "soft" }, (provider.models ?? []).join(", ")),
    hosts.length
      ? el("details", {}, el("summary", {}, "Import an account"), importForm(provider, hosts))
      : el("span", { class: "soft" }, "Register a host to import accounts."));
}

async function show() {
  const [{ drafts }, { packs }, { hosts }] = await Promise.all([
    api("GET", "/provider-drafts"), api("GET", "/packs"), api("GET", "/hosts"),
  ]);
  byId("drafts").replaceChildren(drafts.length
    ? el("ul", { class: "list" }, ...drafts.map(draftItem))
    : el("p", { class: "empty" }, "No drafts yet. Describe a provider to begin."));
  const published = await Promise.all(packs.map(async (pack) => {
    const { providers } = await api("GET", `/packs/${encodeURIComponent(pack.id)}/providers`);
    return providers.map((provider) => publishedItem(pack, provider, hosts));
  }));
  byId("published").replaceChildren(published.flat().length
    ? el("ul", { class: "list" }, ...published.flat())
    : el("p", { class: "empty" }, "Nothing is published yet."));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  act(form.querySelector("button.main"), async () => {
    const fields = Object.fromEntries(new FormData(form));
    const body = {
      pack_id: fields.pack_id.trim(),
      provider_id: fields.provider_id.trim(),
      manifest: {
        display_name: fields.display_name.trim(),
        base_url: fields.base_url.trim(),
        models: fields.models.split(/[\n,]/).map((model) => model.trim()).filter(Boolean),
      },
    };
    if (editing) await api("PUT", `/provider-drafts/${editing}`, body);
    else await api("POST", "/provider-drafts", body);
    edit(null);
    await show();
    notice("The draft is saved. Publish it to put it into its pack.");
  });
});
byId("cancel").addEventListener("click", () => edit(null));

withSession(show);
