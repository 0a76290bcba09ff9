const EVERY = 5000;
const summary = document.querySelector("#summary");
const rows = document.querySelector("#services");
const form = document.querySelector("#account");
const answer = document.querySelector("#answer");

function cell(text, className) {
  const td = document.createElement("td");
  td.textContent = text;
  if (className) td.className = className;
  return td;
}

function show(services) {
  rows.replaceChildren(
    ...services.map(({ name, status, version }) => {
      const row = document.createElement("tr");
      const look = status === "healthy" ? "healthy" : "trouble";
      row.append(cell(name), cell(status, look), cell(version || "–"));
      return row;
    }),
  );
  const healthy = services.filter(({ status }) => status === "healthy").length;
  summary.textContent = `${healthy} of ${services.length} services healthy`;
}

async function refresh() {
  try {
    const response = await fetch("/api/v1/status");
    if (!response.ok) throw new Error(`status ${response.status}`);
    show((await response.json()).services);
  } catch (error) {
    summary.textContent = `The console does not answer: ${error.message}`;
  }
  setTimeout(refresh, EVERY);
}

async function send(event) {
  event.preventDefault();
  const action = event.submitter?.value ?? "login";
  const body = Object.fromEntries(new FormData(form));
  answer.className = "";
  answer.textContent = "…";
  try {
    const response = await fetch(`/api/v1/auth/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const result = await response.json();
    if (!response.ok) throw new Error(result.error);
    const { username, role } = result.user;
    answer.textContent =
      action === "login" ? `Logged in as ${username} (${role}).` : `Registered ${username}. Now log in.`;
  } catch (error) {
    answer.className = "trouble";
    answer.textContent = error.message;
  }
}

form.addEventListener("submit", send);
refresh();
