import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/** Asynchronous sends of RocketMQ's own client: NAME_SERVER TOPIC SIZE WINDOW SECONDS WARM_UP_S. */
public class RocketMQSender {
    public static void main(String[] args) throws Exception {
        byte[] body = new byte[Integer.parseInt(args[2])];
        Semaphore window = new Semaphore(Integer.parseInt(args[3]));
        long warm = Long.parseLong(args[5]) * 1_000_000_000L;
        long whole = Long.parseLong(args[4]) * 1_000_000_000L;
        AtomicLong stored = new AtomicLong();
        AtomicLong failed = new AtomicLong();
        SendCallback callback = new SendCallback() {
            @Override public void onSuccess(SendResult result) {
                (result.getSendStatus() == SendStatus.SEND_OK ? stored : failed).incrementAndGet();
                window.release();
            }

            @Override public void onException(Throwable error) {
                failed.incrementAndGet();
                window.release();
            }
        };
        DefaultMQProducer producer = new DefaultMQProducer("benchmark");
        producer.setNamesrvAddr(args[0]);
        producer.setSendMsgTimeout(30_000);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        producer.start();
        long start = System.nanoTime();
        long from = start;
        long before = -1;
        while (true) {
            long now = System.nanoTime();
            if (before < 0 && now - start >= warm) {
                from = now;
                before = stored.get();
            }
            if (now - start >= whole) {
                break;
            }
            window.acquire();
            producer.send(new Message(args[1], "", "key-1", body), callback);
        }
        double rate = (stored.get() - before) / ((System.nanoTime() - from) / 1e9);
        System.out.println("failed " + failed.get() + " rate " + rate);
        System.exit(0);
    }
}
