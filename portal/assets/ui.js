// The few helpers that all pages share. Text always goes in as text, never as markup.
import { ApiError, api } from "./api.js";

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

export const byId = (id) => document.getElementById(id);

export function badge(text, kind = "") {
  return el("span", { class: `badge ${kind}` }, text);
}

export function when(text) {
  return new Date(text).toLocaleString(undefined, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false,
  });
}

export function notice(text, bad = false) {
  const box = byId("notice");
  box.textContent = text;
  box.className = bad ? "notice bad" : "notice";
  box.hidden = !text;
}

// Runs an action of a button or a form: disabled meanwhile, a failure is shown and not swallowed.
export async function act(button, action) {
  button.disabled = true;
  notice("");
  try {
    await action();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) location.reload();
    notice(error.message, true);
  } finally {
    button.disabled = false;
  }
}

// A button that asks once more before it acts, and forgets the question after a while.
export function confirmed(label, question, action) {
  const button = el("button", { type: "button", class: "small danger" }, label);
  let asked = 0;
  button.addEventListener("click", () => {
    if (asked) {
      clearTimeout(asked);
      asked = 0;
      button.textContent = label;
      act(button, action);
      return;
    }
    button.textContent = question;
    asked = setTimeout(() => {
      asked = 0;
      button.textContent = label;
    }, 4000);
  });
  return button;
}

function loginForm(done) {
  const problem = el("p", { class: "notice bad", role: "alert", hidden: true });
  const user = el("input", { name: "username", autocomplete: "username", required: true, autocapitalize: "none" });
  const password = el("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const submit = el("button", { class: "main" }, "Sign in");
  const form = el(
    "form",
    { id: "login", class: "card narrow" },
    el("h1", {}, "Sign in"),
    el("p", { class: "soft" }, "The administration of the relay manager."),
    problem,
    el("label", {}, "User name", user),
    el("label", {}, "Password", password),
    submit,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    problem.hidden = true;
    try {
      await api("POST", "/admin/login", { username: user.value, password: password.value });
      await done();
    } catch (error) {
      problem.textContent = error.status === 401 ? "The user name or the password is wrong." : error.message;
      problem.hidden = false;
      password.select();
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

function showSession(session) {
  byId("session").replaceChildren(
    el("span", {}, `Signed in as ${session.username}`),
    el("button", {
      type: "button", class: "small", id: "logout",
      onclick: async () => {
        await api("POST", "/admin/logout").catch(() => null);
        location.reload();
      },
    }, "Sign out"),
  );
}

// Shows the page to a signed-in administrator, and the login form to anybody else.
export async function withSession(start) {
  const content = byId("content");
  const open = async () => {
    const session = await api("GET", "/admin/session");
    if (!session.authenticated) {
      const form = loginForm(async () => {
        form.remove();
        await open();
      });
      content.before(form);
      form.querySelector("input").focus();
      return;
    }
    showSession(session);
    content.hidden = false;
    await start();
  };
  try {
    await open();
  } catch (error) {
    content.before(el("p", { class: "notice bad", role: "alert" }, error.message));
  }
}
