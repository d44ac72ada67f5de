#include "athanor/data/Csv.h"

#include <torch/torch.h>

#include <numeric>

#include "athanor/core/Error.h"
#include "athanor/data/Open.h"
#include "data/Scratch.h"

namespace athanor::data {
namespace {

class CsvTest : public Scratch {
 protected:
  using Records = std::vector<std::vector<std::string>>;
  [[nodiscard]] Records read(const std::string& content) const {
    CsvReader reader(write("file.csv", content));
    Records records;
    for (std::vector<std::string> fields; reader.next(fields);) records.push_back(fields);
    return records;
  }
  [[nodiscard]] Splits open_csv(const std::string& content, const std::string& more = "") const {
    static_cast<void>(write("file.csv", content));
    return open(table("kind = \"csv\"\npath = \"FOLDER/file.csv\"\n" + more), 5);
  }
  template <class Exception>
  [[nodiscard]] std::string refusal(const std::string& content, const std::string& more = "") const {
    return message_of<Exception>([&] { static_cast<void>(open_csv(content, more)); });
  }
};

Batch whole(const Dataset& dataset) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(dataset.size()));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return gather(dataset, all);
}

TEST_F(CsvTest, ReadsRecordsAsRfc4180Says) {
  EXPECT_EQ(read("a,b\n1,2\n"), (Records{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read("a,b\r\n1,2"), (Records{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read("\"a,\"\"b\"\"\",\"two\nlines\"\n"), (Records{{"a,\"b\"", "two\nlines"}}));
  EXPECT_EQ(read("a,,\n\n\n,b,\n"), (Records{{"a", "", ""}, {"", "b", ""}}));
  EXPECT_EQ(read("\xEF\xBB\xBFx\n"), (Records{{"x"}}));
  EXPECT_EQ(read(""), Records{});
  EXPECT_SAYS(message_of<Error>([&] { static_cast<void>(read("a\n\"b")); }), ":2: a quote is opened");
  EXPECT_SAYS(message_of<Error>([&] { static_cast<void>(read("a\n\n\"b\"c")); }), ":3: text follows");
}

TEST_F(CsvTest, MakesFeaturesAndClasses) {
  const auto splits = open_csv("size,weight,kind\n1,10,pear\n2,20,apple\n3,30,pear\n4,40,fig\n",
                               "validation_fraction = 0\ntest_fraction = 0\nstandardize = false");
  EXPECT_EQ(splits.class_names, (std::vector<std::string>{"apple", "fig", "pear"}));
  EXPECT_EQ(splits.classes, 3);
  EXPECT_EQ(splits.sample_shape, (std::vector<std::int64_t>{2}));
  EXPECT_FALSE(splits.val || splits.test);
  const auto batch = whole(*splits.train);
  EXPECT_TRUE(torch::equal(batch.inputs, torch::tensor({{1., 10.}, {2., 20.}, {3., 30.}, {4., 40.}}, at::kFloat)));
  EXPECT_TRUE(torch::equal(batch.targets, torch::tensor({2, 0, 2, 1})));
}

TEST_F(CsvTest, NumbersAsClassesStayInTheirOrder) {
  const auto splits = open_csv("x,y\n0,10\n0,9\n0,2\n", "validation_fraction = 0\ntest_fraction = 0");
  EXPECT_EQ(splits.class_names, (std::vector<std::string>{"2", "9", "10"}));
}

TEST_F(CsvTest, RegressionAndChosenColumns) {
  const auto splits = open_csv("a;b;c;y\n1;2;3;0.5\n4;5;6;-1e2\n",
                               "separator = \";\"\ntask = \"regression\"\nfeatures = [\"c\", \"a\"]\ntarget = \"y\"\n"
                               "validation_fraction = 0\ntest_fraction = 0\nstandardize = false");
  const auto batch = whole(*splits.train);
  EXPECT_EQ(splits.classes, 0);
  EXPECT_TRUE(torch::equal(batch.inputs, torch::tensor({{3., 1.}, {6., 4.}}, at::kFloat)));
  EXPECT_TRUE(torch::equal(batch.targets, torch::tensor({{0.5}, {-100.}}, at::kFloat)));
}

TEST_F(CsvTest, StandardisesByTheTrainingRowsAlone) {
  std::string content = "x,constant,y\n";
  for (int i = 0; i < 100; ++i) content += std::to_string(i * i) + ",7," + std::to_string(i % 2) + "\n";
  const auto splits = open_csv(content, "validation_fraction = 0.2\ntest_fraction = 0.3");
  EXPECT_EQ(splits.train->size(), 50);
  EXPECT_EQ(splits.val->size(), 20);
  EXPECT_EQ(splits.test->size(), 30);
  const auto inputs = whole(*splits.train).inputs;
  EXPECT_NEAR(inputs.select(1, 0).mean().item<double>(), 0, 1e-5);
  EXPECT_NEAR(inputs.select(1, 0).std(/*unbiased=*/false).item<double>(), 1, 1e-5);
  EXPECT_EQ(inputs.select(1, 1).abs().max().item<double>(), 0);
}

TEST_F(CsvTest, RefusesByLine) {
  EXPECT_SAYS(refusal<Error>("x,y\n1,a\n,b\n"), "file.csv:3: 'x' is missing");
  EXPECT_SAYS(refusal<Error>("x,y\n1,a\nNA,b\n"), "file.csv:3: 'x' is missing");
  EXPECT_SAYS(refusal<Error>("x,y\n1,a\n\n2, \n"), "file.csv:4: 'y' is missing");
  EXPECT_SAYS(refusal<Error>("x,y\n1,a\ntwo,b\n"), "file.csv:3: 'x' is not a finite number: 'two'");
  EXPECT_SAYS(refusal<Error>("x,y\ninf,a\n"), "not a finite number");
  EXPECT_SAYS(refusal<Error>("x,y\n1,a\n1,2,3\n"), "file.csv:3: 3 fields, but the header has 2");
  EXPECT_SAYS(refusal<Error>(""), "is empty");
  EXPECT_SAYS(refusal<Error>("x,y\n"), "no row is left");
  EXPECT_SAYS(refusal<std::invalid_argument>("width,y\n1,a\n", "features = [\"widht\"]"), "'width'");
  EXPECT_SAYS(refusal<std::invalid_argument>("y\n1\n"), "one column only");
  EXPECT_SAYS(refusal<std::invalid_argument>("x,y\n1,a\n", "target = \"z\""), "does not have");
  EXPECT_SAYS(refusal<std::invalid_argument>("x,y\n1,a\n", "separator = \"tab\""), "one character");
  EXPECT_SAYS(refusal<std::invalid_argument>("x,y\n1,a\n", "validation_fraction = 0.5\ntest_fraction = 0.5"),
              "nothing");
}

}  // namespace
}  // namespace athanor::data
