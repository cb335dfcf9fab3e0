import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;

/** Answers with the path that a request means to Java: decoded by java.net.URI, path parameters taken off, normalised. */
public class Area {
    public static void main(String[] arguments) throws Exception {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 0);
        server.createContext("/", exchange -> {
            byte[] answer = "not a path".getBytes();
            int status = 400;
            try {
                var decoded = exchange.getRequestURI().getPath().replaceAll(";[^/]*", "");
                answer = new URI(null, null, decoded, null).normalize().getPath().getBytes("UTF-8");
                status = 200;
            } catch (Exception none) {
                // stays 400
            }
            exchange.getResponseHeaders().set("Content-Type", "text/plain");
            exchange.sendResponseHeaders(status, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
    }
}
