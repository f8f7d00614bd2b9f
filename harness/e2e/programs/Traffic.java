// Server and client of the traffic contract in README.md, on the JDK's own HTTP server and client.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

public class Traffic {
    static String text(String marker, int size) {
        String unit = marker + ".";
        return unit.repeat(size / unit.length() + 1).substring(0, size);
    }

    static void answer(HttpExchange exchange) throws IOException {
        exchange.getRequestBody().readAllBytes();
        String[] parts = exchange.getRequestURI().getPath().split("/");
        if (parts.length != 3 || !parts[1].matches("\\d{3}") || !parts[2].matches("\\d+")) {
            exchange.sendResponseHeaders(400, -1);
            exchange.close();
            return;
        }
        String query = exchange.getRequestURI().getQuery();
        String marker = query != null && query.startsWith("m=") ? query.substring(2) : "";
        byte[] body = text(marker, Integer.parseInt(parts[2])).getBytes("US-ASCII");
        boolean bare = body.length == 0 || exchange.getRequestMethod().equals("HEAD");
        exchange.getResponseHeaders().set("Content-Type", "text/plain");
        exchange.sendResponseHeaders(Integer.parseInt(parts[1]), bare ? -1 : body.length);
        if (!bare) exchange.getResponseBody().write(body);
        exchange.close();
    }

    static void serve(String address) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getByName(address), 0), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", Traffic::answer);
        server.start();
        System.out.println("listening " + server.getAddress().getPort());
    }

    static void get(String base, int connections) throws Exception {
        var lines = new ConcurrentLinkedQueue<String>();
        try (var in = new BufferedReader(new InputStreamReader(System.in))) {
            in.lines().forEach(lines::add);
        }
        var workers = Executors.newFixedThreadPool(connections);
        for (int i = 0; i < connections; i++) {
            workers.submit(() -> {
                // A client of its own a worker: the JDK pools connections by client.
                var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
                for (String line; (line = lines.poll()) != null; ) {
                    String[] fields = line.split(" ");
                    int size = Integer.parseInt(fields[2]);
                    var body = size > 0 ? HttpRequest.BodyPublishers.ofString(text("b", size)) : HttpRequest.BodyPublishers.noBody();
                    var request = HttpRequest.newBuilder(URI.create(base + fields[1]))
                        .header("Content-Type", "text/plain").method(fields[0], body).build();
                    var response = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
                    System.out.println(fields[1] + " " + response.statusCode() + " " + response.body().length);
                }
                return null;
            });
        }
        workers.shutdown();
        if (!workers.awaitTermination(60, TimeUnit.SECONDS)) System.exit(1);
        System.exit(0);
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("serve")) serve(args.length > 1 ? args[1] : "127.0.0.1");
        else get(args[1], Integer.parseInt(args[2]));
    }
}
