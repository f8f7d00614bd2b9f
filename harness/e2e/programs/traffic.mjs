// Server and client of the traffic contract in README.md, on Node's http.
import http from "node:http";
import readline from "node:readline";

const text = (marker, size) => `${marker}.`.repeat(Math.ceil(size / (marker.length + 1))).slice(0, size);

function serve(address) {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, "http://any");
    const [, status, size, ...rest] = url.pathname.split("/");
    request.resume();
    request.on("end", () => {
      if (!/^\d{3}$/.test(status ?? "") || !/^\d+$/.test(size ?? "") || rest.length > 0) {
        response.writeHead(400).end();
        return;
      }
      const body = request.method === "HEAD" ? "" : text(url.searchParams.get("m") ?? "", Number(size));
      response.writeHead(Number(status), { "Content-Type": "text/plain", "Content-Length": Number(size) });
      response.end(body);
    });
  });
  server.listen(0, address, () => console.log(`listening ${server.address().port}`));
}

function one(agent, base, line) {
  const [method, path, bodyBytes] = line.split(" ");
  return new Promise((resolve, reject) => {
    const request = http.request(base + path, { method, agent, headers: { "Content-Type": "text/plain" } }, (response) => {
      let bytes = 0;
      response.on("data", (chunk) => (bytes += chunk.length));
      response.on("end", () => {
        console.log(`${path} ${response.statusCode} ${bytes}`);
        resolve();
      });
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(Number(bodyBytes) > 0 ? text("b", Number(bodyBytes)) : undefined);
  });
}

async function get(base, connections) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const lines = [];
  for await (const line of readline.createInterface({ input: process.stdin })) lines.push(line);
  const worker = async () => {
    while (lines.length > 0) await one(agent, base, lines.shift());
  };
  await Promise.all(Array.from({ length: connections }, worker));
  agent.destroy();
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === "serve") serve(rest[0] ?? "127.0.0.1");
else await get(rest[0], Number(rest[1]));
